"""One id space for both modalities: the backbone's text ids, then MASK, BOI, EOI and the image codes."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Vocabulary:
    """Ids of every token of a canvas."""

    text: int  # number of text ids, `0 .. text - 1`, of report positions
    codes: int  # number of image codes; code `c` of an image position has id `image_offset + c`

    @property
    def mask(self) -> int:
        """The absorbing state, for either modality."""
        return self.text

    @property
    def begin_image(self) -> int:
        return self.text + 1

    @property
    def end_image(self) -> int:
        return self.text + 2

    @property
    def image_offset(self) -> int:
        return self.text + 3

    @property
    def size(self) -> int:
        return self.image_offset + self.codes

    def image_ids(self, codes: torch.Tensor) -> torch.Tensor:
        """Ids of image codes, any shape."""
        return codes + self.image_offset

    def image_codes(self, ids: torch.Tensor) -> torch.Tensor:
        """Codes of image ids, any shape. Raises ValueError where an id is no image code, such as MASK."""
        codes = ids - self.image_offset
        if bool(((codes < 0) | (codes >= self.codes)).any()):
            raise ValueError("an image position holds a token that is no image code")
        return codes
