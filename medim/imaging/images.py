"""Files to images to tensors and back: any mode and bit depth becomes 8-bit RGB, one geometry, one quantisation."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import TiffImageFile

from medim.common.errors import UserError
from medim.imaging.dicom import is_dicom, read_dicom
from medim.imaging.image_files import backslash_hint, open_image

GEOMETRY = "pad-square,bicubic,antialias"  # what `square` does, for signatures


@dataclass(frozen=True)
class Geometry:
    """How a picture becomes a square: padded with a colour, then resized by a filter that is widened when shrinking."""

    name: str
    fill: tuple[int, int, int] = (0, 0, 0)
    filter: Image.Resampling = Image.Resampling.BICUBIC


OURS = Geometry(GEOMETRY)
GEOMETRIES = {
    OURS.name: OURS,
    "pad-square-122-116-104,lanczos": Geometry("pad-square-122-116-104,lanczos", (122, 116, 104), Image.Resampling.LANCZOS),
}
"""By name; the second is that of the code that the MeDiM authors released."""

_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TIFF_BITS_PER_SAMPLE, _TIFF_PHOTOMETRIC, _TIFF_SAMPLE_FORMAT = 258, 262, 339
_WHITE_IS_ZERO, _UNSIGNED = 0, 1


def read_image(path: str | Path) -> Image.Image:
    """Reads an image file as 8-bit RGB (see `to_rgb`), turned upright by its EXIF orientation. Of several frames, the first.

    DICOM files are recognised by content or suffix and read by `read_dicom`.

    Raises UserError: the file is missing, cut, no image, declares more pixels than are allowed (`image_files`) or holds values
    that are not numbers.
    """
    try:
        # By stream, not by name: Pillow maps an uncompressed file into memory and then scrambles a turned TIFF.
        with Path(path).open("rb") as stream:
            if is_dicom(stream.read(132), path):
                return to_rgb(read_dicom(path))
            stream.seek(0)
            return _read(stream)
    except FileNotFoundError:
        raise UserError(f"image '{path}' does not exist{backslash_hint(path)}") from None
    except Image.UnidentifiedImageError:
        raise UserError(
            f"image '{path}' cannot be read: not an image of a known format and mode, or cut in its header"
        ) from None
    except _UNREADABLE as error:
        reason = str(error).strip() or type(error).__name__
        if isinstance(error, OSError) and error.errno is not None:  # the file system's reasons, not the file's content
            reason = error.strerror or reason
        elif not isinstance(error, ValueError | Image.DecompressionBombError) and "truncated" not in reason.lower():
            reason = f"truncated or damaged: {reason}"
        raise UserError(f"image '{path}' cannot be read: {reason}") from error


def _read(stream: BinaryIO) -> Image.Image:
    """What a file of any format that Pillow reads shows, upright and 8-bit RGB."""
    with open_image(stream) as image:
        image.load()
        turn = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
        rgb = to_rgb(image)  # before turning: a turned copy has lost the format that tells the range
        return rgb.copy() if turn is None else rgb.transpose(turn)


def to_rgb(image: Image.Image) -> Image.Image:
    """An 8-bit RGB image of any decoded image, without silent saturation.

    * 16-bit greyscale: the container's full range (0..65535, or 0..2^bits-1 where a TIFF states fewer bits) maps to 0..255,
      rounded to nearest. A file that stores 12-bit values unscaled comes out nearly black; `medim-bench data check` names it.
    * 32-bit integer and float greyscale: the image's own minimum..maximum maps to 0..255, as such files declare no range
      (a constant image becomes 0); a 16-bit PGM, which Pillow opens in this mode, keeps its full range.
    * A greyscale TIFF whose zero is white is inverted.
    * Transparency is composited on black where every visible pixel is grey (a radiograph's surround), on white otherwise
      (a slide's).
    * 1-bit, palette, CMYK (JPEGs by Adobe's convention, in which they are stored inverted), YCbCr, LAB and HSV are converted
      as Pillow does; 16-bit colour keeps its upper 8 bits.

    Raises ValueError: a float image holds NaN or infinity.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16"):
        return _grey(_full_range(image))
    if image.mode in ("I", "F"):
        return _grey(_own_range(image))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        pixels = np.asarray(rgba)
        visible = pixels[pixels[..., 3] > 0][:, :3]
        ground = 0 if (visible == visible[:, :1]).all() else 255
        return Image.alpha_composite(Image.new("RGBA", rgba.size, (ground, ground, ground, 255)), rgba).convert("RGB")
    return image.convert("RGB")


def as_rgb(image: Image.Image | Path) -> Image.Image:
    """The 8-bit RGB picture of an image in memory or in a file."""
    return to_rgb(image) if isinstance(image, Image.Image) else read_image(image)


def square(image: Image.Image, side: int, geometry: Geometry = OURS) -> Image.Image:
    """The image padded to a centred square, then resized to `side` pixels; an RGB image of the size is returned unchanged."""
    image = to_rgb(image)
    width, height = image.size
    longest = max(width, height)
    if width != height:
        padded = Image.new("RGB", (longest, longest), geometry.fill)
        padded.paste(image, ((longest - width) // 2, (longest - height) // 2))
        image = padded
    return image if longest == side else image.resize((side, side), geometry.filter)


def to_tensor(images: Sequence[Image.Image]) -> torch.Tensor:
    """Images of one size as float32 (B, 3, H, W) in [-1, 1]: x = value / 127.5 - 1.
    Raises ValueError: no images, or images of different sizes."""
    sizes = {image.size for image in images}
    if len(sizes) != 1:
        raise ValueError(f"images of one size are needed, not {sorted(sizes)}; see `square`")
    values = np.stack([np.asarray(to_rgb(image)) for image in images])  # (B, H, W, 3)
    return torch.from_numpy(values).permute(0, 3, 1, 2).contiguous().float().div_(127.5).sub_(1)


def to_images(tensor: torch.Tensor) -> list[Image.Image]:
    """8-bit RGB images of a float (B, 3, H, W) in [-1, 1]; the inverse of `to_tensor`. Values are rounded half to even
    (truncation would darken every image by half a grey level) and clipped. Raises ValueError: another shape, or NaN."""
    if tensor.ndim != 4 or tensor.shape[1] != 3:
        raise ValueError(f"shape (B, 3, H, W) is needed, not {tuple(tensor.shape)}")
    tensor = tensor.detach().float()
    if tensor.isnan().any():
        raise ValueError("the tensor holds NaN")
    values = tensor.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
    return [Image.fromarray(image) for image in values.permute(0, 2, 3, 1).cpu().numpy()]


def _full_range(image: Image.Image) -> np.ndarray:
    """A 16-bit greyscale image as float64 (H, W) in [0, 1] of its container's range."""
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    bits = int(tags.get(_TIFF_BITS_PER_SAMPLE, (16,))[0])
    values = np.asarray(image).astype(np.float64) / (2**bits - 1)
    return 1 - values if tags.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO else values


def _own_range(image: Image.Image) -> np.ndarray:
    """A 32-bit integer or float greyscale image as float64 (H, W) in [0, 1] of its minimum..maximum."""
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    stored = np.asarray(image)
    if image.mode == "I" and tags.get(_TIFF_BITS_PER_SAMPLE) == (32,) and tags.get(_TIFF_SAMPLE_FORMAT, (1,)) == (_UNSIGNED,):
        stored = stored.view(np.uint32)  # Pillow has no unsigned mode: the upper half would turn negative
    values = stored.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("holds NaN or infinity")
    low, high = (0.0, 65535.0) if image.format == "PPM" else (values.min(), values.max())
    values = (values - low) / max(high - low, np.finfo(np.float64).tiny)
    return 1 - values if tags.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO else values


def _grey(values: np.ndarray) -> Image.Image:
    """Float (H, W) in [0, 1] as a grey RGB image, rounded half to even."""
    return Image.fromarray(np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)).convert("RGB")
