"""How a prepared picture is kept: its size, its format, its name."""

import hashlib
import io
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from medim.common.files import hash_of

QUALITY = 95


@dataclass(frozen=True)
class Storage:
    """How pictures are kept.

    Attributes:
        longest_side: pixels; larger pictures are shrunk (bicubic, antialiased; the aspect stays), smaller ones are left. 0
            keeps every size.
        format: `png` (lossless) or `jpeg` (quality 95, full colour resolution).
    """

    longest_side: int = 512
    format: Literal["png", "jpeg"] = "png"

    @property
    def suffix(self) -> str:
        return ".png" if self.format == "png" else ".jpg"


def encode(image: Image.Image, storage: Storage) -> bytes:
    """The file of a picture; grey pictures in RGB become grey files."""
    if image.mode == "RGB":
        pixels = np.asarray(image)
        if (pixels == pixels[..., :1]).all():
            image = image.getchannel(0)
    scale = storage.longest_side / max(image.size)
    if storage.longest_side and scale < 1:
        width, height = (max(1, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    if storage.format == "png":
        image.save(file, "PNG")
    else:
        image.save(file, "JPEG", quality=QUALITY, subsampling=0)
    return file.getvalue()


def image_name(identity: str, storage: Storage) -> str:
    """A file name for a pair's id; ids that no file system takes as they are get a hash of their own.

    >>> image_name("p10/s50.1", Storage())
    'p10_s50.1-1fd6b0d3e9ecbf3a.png'
    >>> image_name("CXR1_1", Storage(format="jpeg"))
    'CXR1_1.jpg'
    """
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", identity).strip(".")[:100]
    return (plain if plain == identity else f"{plain}-{hash_of(identity)}") + storage.suffix


def content_hash(data: bytes) -> str:
    """SHA-256 of a file's bytes, first 16 hex digits: the field `image_sha256`."""
    return hashlib.sha256(data).hexdigest()[:16]
