"""DICOM files to 8-bit pictures as a viewer shows them: modality and VOI transforms, the right way round, padding black."""

import math
import re
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medim.common.errors import UserError, plain
from medim.imaging.image_files import GeometryError, check_geometry

SUFFIXES = (".dcm", ".dicom")
MARK = b"DICM"  # stands at byte 128 of every DICOM file

LEAST = 0.1
"""Of the grey levels, that a window or a look-up table must use: an 8-bit picture with a window for 12 bits is nearly black."""
STEEPEST = 10
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")

_DAMAGED = (ArithmeticError, AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError, ValueError, struct.error)
_PACKAGES = {
    "JPEG-LS": "pyjpegls",
    "JPEG 2000": "pylibjpeg pylibjpeg-openjpeg",
    "JPEG2000": "pylibjpeg pylibjpeg-openjpeg",
    "JPEG": "pylibjpeg pylibjpeg-libjpeg",
}
"""What decodes a family of transfer syntaxes, by how its name begins; the first that fits."""


def is_dicom(head: bytes, path: str | Path) -> bool:
    """Whether a file is DICOM: by its mark (`head` is its first 132 bytes or more), else by its suffix."""
    return head[128:132] == MARK or Path(path).suffix.lower() in SUFFIXES


def read_dicom(path: str | Path) -> Image.Image:
    """A single-frame DICOM file as an 8-bit picture at its own size: mode L, or RGB where the file is in colour.

    Greyscale goes through the transforms of DICOM PS3.3 in their order:

    1. modality: the Modality LUT, else slope and intercept (C.11.1);
    2. values of interest: the first VOI LUT, else the first window with its function, LINEAR, LINEAR_EXACT or SIGMOID
       (C.11.2). `info["clipped"]` of the picture is the share of pixels outside the window. The output of a VOI LUT spans
       0 to 2^b - 1, b being the bits of its largest entry, as descriptors often overstate them;
    3. where the file states neither: stored depths of up to 8 bits keep their full range; deeper data span their own minimum
       to maximum, since stated depths often exceed what is used;
    4. MONOCHROME1 (whose lowest value is white) is inverted; pixels of the padding value or range are black and count for
       nothing above.

    The Presentation LUT Shape repeats the photometric interpretation and is not applied twice. Colour (RGB, YBR, PALETTE
    COLOR) is converted to RGB over its full stored range. Pixels that are not square (by the spacing, else the aspect ratio)
    are made so: the coarser side is enlarged, bicubic.

    Raises UserError: no DICOM file, no picture in it, several frames, a damaged one, a compression for which no decoder is
    installed (the line names the package), a window that shows next to nothing of the data, or pydicom is missing.
    """
    try:
        from pydicom import dcmread
        from pydicom.errors import InvalidDicomError
    except ImportError:
        raise UserError("reading DICOM files needs pydicom: pip install 'medim-bench[archives]'") from None
    try:
        with warnings.catch_warnings(action="ignore"):
            dataset = dcmread(path)
    except FileNotFoundError:
        raise UserError(f"image '{path}' does not exist") from None
    except InvalidDicomError:
        raise UserError(f"image '{path}' cannot be read: no DICOM file (the mark 'DICM' is missing at byte 128)") from None
    except _DAMAGED as error:
        raise UserError(f"image '{path}' cannot be read: {_message(error)}") from error
    try:
        with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"):  # what matters is refused by name
            stored = _stored(dataset)
            grey = dataset.SamplesPerPixel == 1 and dataset.PhotometricInterpretation != "PALETTE COLOR"
            return _square_pixels(_greyscale(stored, dataset) if grey else _colour(stored, dataset), dataset)
    except UserError as error:
        raise UserError(f"image '{path}' cannot be read: {error}") from error.__cause__
    except GeometryError as error:
        raise UserError(f"image '{path}' cannot be read: {error}") from None
    except _DAMAGED as error:
        raise UserError(f"image '{path}' cannot be read: truncated or damaged DICOM: {_message(error)}") from error


def _stored(dataset: Any) -> np.ndarray:
    """The decompressed values as stored: integers (H, W) or (H, W, 3), YBR turned into RGB."""
    from pydicom.pixels import get_decoder, pixel_array

    if "PixelData" not in dataset:
        kind = dataset.get("Modality") or "not stated"
        raise UserError(f"the DICOM file holds no integer pixel data (modality: {kind})")
    if (frames := int(_number("NumberOfFrames", dataset.get("NumberOfFrames") or 1))) > 1:
        raise UserError(f"the DICOM file holds {frames} frames and a pair one picture: write the frame to a file of its own")
    check_geometry(int(dataset.Columns), int(dataset.Rows))
    syntax = dataset.file_meta.TransferSyntaxUID
    package = next((package for family, package in _PACKAGES.items() if syntax.name.startswith(family)), None)
    advice = f"compressed as {syntax.name} ({syntax})" + (f": pip install {package}" if package else ", which nothing decodes")
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise UserError(advice) from None
    if not decoder.is_available:
        raise UserError(advice)
    try:
        return pixel_array(dataset)
    except RuntimeError as error:  # every decoder that is installed has tried
        message = str(error).lower()
        if "precision" in message or "12-bit" in message:  # Pillow takes JPEG Extended, but only its 8-bit form
            raise UserError(advice) from error
        raise


def _greyscale(stored: np.ndarray, dataset: Any) -> Image.Image:
    """Stored integers (H, W) as mode L; every distinct value is transformed once, whatever the size of the picture."""
    if stored.ndim != 2:
        raise UserError(f"the DICOM file holds values of {len(stored)} pictures and states one")
    low, high = int(stored.min()), int(stored.max())
    if high - low < 1 << 16:
        levels = np.arange(low, high + 1)
        index = stored.astype(np.int64) - low
        counts = np.bincount(index.ravel(), minlength=len(levels))
    else:
        levels, index, counts = np.unique(stored, return_inverse=True, return_counts=True)
        index = index.reshape(stored.shape)
    padding = _is_padding(levels, dataset)
    present = (counts > 0) & ~padding
    shown, clipped = _shown(levels, present, dataset)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shown = 1 - shown
    elif dataset.PhotometricInterpretation != "MONOCHROME2":
        raise UserError(f"photometric interpretation '{dataset.PhotometricInterpretation}' of one sample a pixel is unknown")
    shown = np.where(padding, 0.0, shown)
    picture = Image.fromarray(np.rint(shown * 255).astype(np.uint8)[index])
    picture.info["clipped"] = float(counts[present & clipped].sum() / max(counts[present].sum(), 1))
    return picture


def _is_padding(levels: np.ndarray, dataset: Any) -> np.ndarray:
    """Which stored values stand for no picture: the padding value, up to its range limit where one is stated."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(len(levels), dtype=bool)
    limit = dataset.get("PixelPaddingRangeLimit")
    ends = sorted((int(value), int(value if limit is None else limit)))
    return (levels >= ends[0]) & (levels <= ends[1])


def _shown(levels: np.ndarray, present: np.ndarray, dataset: Any) -> tuple[np.ndarray, np.ndarray]:
    """Stored values (n,) as float64 in [0, 1] before any inversion, and which of them the file's window cuts off."""
    values = levels.astype(np.float64)
    nowhere = np.zeros(len(levels), dtype=bool)
    slope = dataset.get("RescaleSlope")
    intercept = _number("RescaleIntercept", dataset.get("RescaleIntercept") or 0)
    rescale = (1.0, 0.0) if slope is None else (_number("RescaleSlope", slope), intercept)
    if not rescale[0] or not all(map(math.isfinite, rescale)):
        raise UserError("rescale slope {:g} and intercept {:g} leave nothing of its values".format(*rescale))
    if modality := dataset.get("ModalityLUTSequence"):
        values = _look_up(values, modality[0], dataset)[0]
    else:
        values = values * rescale[0] + rescale[1]

    if interest := dataset.get("VOILUTSequence"):
        entries, top = _look_up(values, interest[0], dataset)
        what, shown, clipped = "VOI LUT", entries / max(top, 1), nowhere
    elif (window := _window(dataset)) is not None:
        what = "window (centre {:g}, width {:g})".format(*window)
        shown, clipped = _windowed(values, *window, str(dataset.get("VOILUTFunction") or "LINEAR").upper())
    else:
        if dataset.BitsStored <= 8 and not modality:
            first = -(2 ** (dataset.BitsStored - 1)) if dataset.PixelRepresentation else 0
            ends = np.array([first, first + 2**dataset.BitsStored - 1]) * rescale[0] + rescale[1]
        else:
            ends = values[present] if present.any() else values
        low, high = ends.min(), ends.max()
        return np.clip((values - low) / max(high - low, np.finfo(np.float64).tiny), 0, 1), nowhere
    if present.sum() > 1 and (span := np.ptp(shown[present])) < LEAST:
        low, high = values[present].min(), values[present].max()
        left = f"only {math.ceil(span * 255) + 1} of 256 grey levels" if span else "nothing"
        raise UserError(f"its {what} shows {left} of its values {low:g} to {high:g}, stored in {dataset.BitsStored} bits")
    return shown, clipped


def _window(dataset: Any) -> tuple[float, float] | None:
    """Centre and width of the first window, or None where the file states none."""
    ends = []
    for name in ("WindowCenter", "WindowWidth"):
        value = dataset.get(name)
        if value is not None and not isinstance(value, str | int | float):  # several windows
            value = value[0] if len(value) else None
        if value is None or value == "":
            return None
        ends.append(_number(name, value))
    if not all(map(math.isfinite, ends)):
        raise UserError("window (centre {:g}, width {:g}) is none".format(*ends))
    return ends[0], ends[1]


def _square_pixels(picture: Image.Image, dataset: Any) -> Image.Image:
    ratio = next((ratio for name in _SPACINGS if (ratio := _height_by_width(name, dataset.get(name))) is not None), 1.0)
    if abs(ratio - 1) < 0.01:
        return picture
    if not 1 / STEEPEST <= ratio <= STEEPEST:
        raise UserError(f"its pixels are {ratio:g} times as high as wide; more than {STEEPEST} is taken for a mistake")
    width, height = picture.size
    sides = (width, round(height * ratio)) if ratio > 1 else (round(width / ratio), height)
    check_geometry(*sides)
    return picture.resize(sides, Image.Resampling.BICUBIC)


def _height_by_width(name: str, value: Any) -> float | None:
    """Of a pixel, from a pair (between rows, between columns), or None where the file states none."""
    if value is None or value == "" or (hasattr(value, "__len__") and not len(value)):
        return None
    ends = [_number(name, end) for end in ([value] if isinstance(value, str | int | float) else value)]
    if not any(ends):  # written for "not known"
        return None
    if len(ends) != 2 or not all(0 < end < math.inf for end in ends):
        raise UserError(f"its {name} {', '.join(f'{end:g}' for end in ends)} is no pair of positive numbers")
    return ends[0] / ends[1]


def _number(name: str, value: Any) -> float:
    """The value of an element. Raises UserError where it is no number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UserError(f"its {name} '{plain(str(value))[:40]}' is no number") from None


def _windowed(values: np.ndarray, centre: float, width: float, function: str) -> tuple[np.ndarray, np.ndarray]:
    """Values through a window as [0, 1], and which of them lie outside it. DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3.
    LINEAR y = (x - (c - 0.5)) / (w - 1) + 0.5 LINEAR_EXACT y = (x - c) / w + 0.5 SIGMOID y = 1 / (1 + exp(-4 (x - c) / w)),
    which cuts nothing off"""
    least = 1.0 if function == "LINEAR" else np.finfo(np.float64).tiny
    if not width >= least:
        raise UserError(f"window width {width:g} is not allowed with the function {function}")
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700))), np.zeros(len(values), dtype=bool)
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    elif function != "LINEAR_EXACT":
        raise UserError(f"VOI LUT function '{function}' is unknown")
    below, above = values <= centre - width / 2, values > centre + width / 2
    inside = (values - centre) / max(width, np.finfo(np.float64).tiny) + 0.5  # a width of 1 is a threshold: nothing inside
    outside = (values < centre - width / 2) | above
    return np.select([below, above], [0.0, 1.0], np.clip(inside, 0, 1)), outside


def _look_up(values: np.ndarray, item: Any, dataset: Any) -> tuple[np.ndarray, int]:
    """Values through a look-up table (DICOM PS3.3 C.11.1.1), and the highest value that the bits of its entries can take."""
    count, first = int(item.LUTDescriptor[0]) or 1 << 16, int(item.LUTDescriptor[1])
    data = item.LUTData
    if isinstance(data, bytes):
        order = "<" if dataset.original_encoding[1] else ">"
        packed = len(data) in (count, count + count % 2)  # 8-bit entries, two in a word
        entries = np.frombuffer(data, dtype=np.uint8 if packed else f"{order}u2")
    else:
        entries = np.atleast_1d(np.asarray(data))
    if len(entries) < count:
        raise UserError(f"a look-up table states {count} entries and holds {len(entries)}")
    entries = entries[:count].astype(np.float64)
    index = np.clip(np.rint(values).astype(np.int64) - first, 0, count - 1)
    return entries[index], 2 ** int(entries.max()).bit_length() - 1


def _colour(stored: np.ndarray, dataset: Any) -> Image.Image:
    """Stored colours, or indices of a palette, as RGB over their full range."""
    from pydicom.pixels import apply_color_lut

    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        values = apply_color_lut(stored, dataset)[..., :3]
        top = float(np.iinfo(values.dtype).max)
    else:
        values, top = stored, 2.0**dataset.BitsStored - 1
    if values.ndim != 3 or values.shape[2] != 3 or dataset.get("PixelRepresentation"):
        raise UserError(f"colour of shape {values.shape} as '{dataset.PhotometricInterpretation}' is not understood")
    return Image.fromarray(np.rint(np.clip(values / top, 0, 1) * 255).astype(np.uint8))


def _message(error: Exception) -> str:
    """An error in one line, without addresses in memory, which differ from run to run."""
    return plain(re.sub(r" ?<[^<>]* at 0x[0-9a-f]+>", "", str(error))) or type(error).__name__
