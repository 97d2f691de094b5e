"""A batch of image-report sequences, with a role per position and a state per position.
Any subset of either modality can be given: report -> image, image -> report, joint, prompted joint, inpainting and infilling
are all one canvas with different positions given."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch

from medim.vocabulary import Vocabulary

Modality = Literal["image", "report"]
MODALITIES: tuple[Modality, Modality] = ("image", "report")
"""Order of the modalities wherever a tensor has one entry for each, such as t of shape (B, 2)."""

Order = Literal["image-report", "report-image"]


@dataclass(frozen=True)
class Layout:
    """Positions of each modality: `BOI image EOI report` or `report BOI image EOI`.
    `before_report`, `after_report`: text ids that stand clean on each side of the report's positions, as structure."""

    vocabulary: Vocabulary
    image_length: int
    report_length: int
    order: Order = "image-report"
    before_report: tuple[int, ...] = ()
    after_report: tuple[int, ...] = ()

    @property
    def length(self) -> int:
        return self.image_length + 2 + len(self.before_report) + self.report_length + len(self.after_report)

    @property
    def image(self) -> slice:
        stop = self.length - 1 if self.order == "report-image" else self.image_length + 1
        return slice(stop - self.image_length, stop)

    @property
    def report(self) -> slice:
        start = len(self.before_report) + (self.image_length + 2 if self.order == "image-report" else 0)
        return slice(start, start + self.report_length)

    def of(self, modality: Modality) -> slice:
        return self.image if modality == "image" else self.report

    def states(self, tokens: torch.Tensor, modality: Modality) -> torch.Tensor:
        """Ids of one modality's positions as states of `medim.diffusion.transition`: 0 .. V - 1, and V for MASK; any shape."""
        vocabulary = self.vocabulary
        if modality == "report":
            return tokens  # MASK is the id after the last text id
        return torch.where(tokens == vocabulary.mask, vocabulary.codes, tokens - vocabulary.image_offset)

    def ids(self, states: torch.Tensor, modality: Modality) -> torch.Tensor:
        """The inverse of `states`."""
        vocabulary = self.vocabulary
        if modality == "report":
            return states
        return torch.where(states == vocabulary.codes, vocabulary.mask, states + vocabulary.image_offset)

    def size(self, modality: Modality) -> int:
        """V, the number of ids that a position of the modality may hold."""
        return self.vocabulary.codes if modality == "image" else self.vocabulary.text

    @cached_property
    def structure(self) -> torch.Tensor:
        """BOI, EOI and the text beside the report in place, MASK everywhere else; shape (L,)."""
        tokens = torch.full((self.length,), self.vocabulary.mask)
        tokens[self.image.start - 1] = self.vocabulary.begin_image
        tokens[self.image.stop] = self.vocabulary.end_image
        start, stop = self.report.start, self.report.stop
        tokens[start - len(self.before_report) : start] = torch.tensor(self.before_report, dtype=torch.long)
        tokens[stop : stop + len(self.after_report)] = torch.tensor(self.after_report, dtype=torch.long)
        return tokens

    def join(self, image_codes: torch.Tensor, report_tokens: torch.Tensor) -> torch.Tensor:
        """Complete sequences (B, L) from image codes (B, image_length) and report ids (B, report_length)."""
        tokens = self.structure.to(image_codes.device).repeat(len(image_codes), 1)
        tokens[:, self.image] = self.vocabulary.image_ids(image_codes)
        tokens[:, self.report] = report_tokens
        return tokens


@dataclass
class Canvas:
    """Sequences to fill."""

    layout: Layout  # positions of each modality
    tokens: torch.Tensor  # ids, MASK where nothing is known yet; shape (B, L)
    given: torch.Tensor  # True where the token was given and never changes (structure included); shape (B, L)

    @classmethod
    def blank(cls, layout: Layout, batch: int, device: torch.device | str = "cpu") -> "Canvas":
        """Both modalities to generate."""
        tokens = layout.structure.to(device).repeat(batch, 1)
        return cls(layout, tokens, tokens != layout.vocabulary.mask)

    def give_image(self, codes: torch.Tensor, given: torch.Tensor | None = None) -> "Canvas":
        """This canvas with image codes (B, image_length) given, all of them or those where `given` is True."""
        return self._give(self.layout.image, self.layout.vocabulary.image_ids(codes), given)

    def give_report(self, tokens: torch.Tensor, given: torch.Tensor | None = None) -> "Canvas":
        """This canvas with report tokens (B, report_length) given, all of them or those where `given` is True."""
        return self._give(self.layout.report, tokens, given)

    def _give(self, where: slice, ids: torch.Tensor, given: torch.Tensor | None) -> "Canvas":
        given = torch.ones_like(ids, dtype=torch.bool) if given is None else given
        tokens, mask = self.tokens.clone(), self.given.clone()
        tokens[:, where] = torch.where(given, ids, tokens[:, where])
        mask[:, where] |= given
        return Canvas(self.layout, tokens, mask)

    @property
    def masked(self) -> torch.Tensor:
        """True where a token is still to be generated; shape (B, L)."""
        return self.tokens == self.layout.vocabulary.mask

    def masked_fraction(self) -> torch.Tensor:
        """Masked share of each modality's positions, the time of a masked diffusion; shape (B, 2)."""
        masked = self.masked
        return torch.stack([masked[:, self.layout.of(m)].float().mean(1) for m in MODALITIES], dim=1)

    def image_codes(self) -> torch.Tensor:
        """Codes (B, image_length). Raises ValueError while one is masked."""
        return self.layout.vocabulary.image_codes(self.tokens[:, self.layout.image])

    def report_tokens(self) -> torch.Tensor:
        return self.tokens[:, self.layout.report]
