"""Reads pairs, here or in worker processes, into one row of numbers each and tallies of what they hold."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from medim.common.errors import UserError
from medim.common.workers import as_done, bind, call_bound, process_pool
from medim.data.checks import texts
from medim.data.dataset import PairDataset
from medim.data.sources.pairs_file import NOT_STATED
from medim.imaging.dicom import is_dicom
from medim.imaging.images import read_image, to_rgb
from medim.imaging.near_duplicates import WORDS, perceptual_hash
from medim.pair import ImageReportPair

if TYPE_CHECKING:  # a worker without a tokenizer starts sooner
    from medim.tokenizers.report import ReportTokenizer  # lazy: start-up

CHUNK = 64  # pairs that a worker reads at once

ROW = np.dtype(
    [
        ("split", "u1"),
        ("index", "i4"),
        ("id", "u8"),
        ("patient", "u8"),
        ("study", "u8"),
        ("report", "u8"),  # `texts.text_key`: 0 where there is no text
        ("words", "i4"),  # between white space
        ("tokens", "i4"),  # with the end; 0 without a tokenizer
        ("image", "u8"),  # of the decoded pixels; 0 where it is unreadable
        ("hash", "u8", WORDS),
        ("width", "i4"),
        ("height", "i4"),
        ("low", "u1"),  # 0.5 % of the pixels are darker (grey level)
        ("high", "u1"),  # 0.5 % are brighter
        ("spread", "f4"),  # standard deviation of the grey levels
        ("clipped", "f4"),  # share of pixels outside a DICOM window
        ("colour", "?"),
    ]
)
"""The measures of a pair, about 130 bytes."""

FLAT = 4.0  # standard deviation in grey levels below which a picture is nearly empty; such are alike without being copies
FLAT_IN_THE_DARK = 1.0  # the same for a nearly black picture, whose few levels may still hold all there is
DARK = 32  # grey level that 0.5 % of a picture's pixels should exceed; below it the picture is nearly black
CLIPPED = 0.2  # share of pixels outside the DICOM window of a picture from which it is named

_COLOURFUL = 24  # grey levels between the channels of a pixel that count as colour
_SHA256 = "image_sha256"


@dataclass
class Tally:
    """What the pairs of a split hold."""

    # counts of `kinds` (of files), `vocabulary`, `characters`, `findings`, `domains`, `views`, `terms`, and of `reports` that
    # are labelled, missing, empty or short
    of: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    damaged: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # ids by kind of damage
    failures: list[tuple[str, str]] = field(default_factory=list)  # (id, reason) of each pair that cannot be read

    def add(self, other: "Tally") -> None:
        for name, counts in other.of.items():
            self.of[name].update(counts)
        for kind, ids in other.damaged.items():
            self.damaged[kind] += ids
        self.failures += other.failures


@dataclass(frozen=True)
class Part:
    """Some consecutive pairs of a split, and where the split stands in the order of splits."""

    split: str
    number: int
    start: int
    stop: int


def parts(sizes: dict[str, int]) -> list[Part]:
    return [
        Part(split, number, start, min(start + CHUNK, size))
        for number, (split, size) in enumerate(sizes.items())
        for start in range(0, size, CHUNK)
    ]


def read_all(
    dataset: PairDataset, wanted: list[Part], tokenizer: "ReportTokenizer | None", workers: int
) -> Iterator[tuple[Part, tuple[np.ndarray, Tally]]]:
    """Reads every part in this process (`workers` 0) or in others; yields each as it is done, in any order."""
    if not workers:
        yield from ((part, read_part(dataset, part, tokenizer)) for part in wanted)
        return
    with process_pool(workers, bind, partial(read_part, dataset, tokenizer=tokenizer)) as pool:
        try:
            yield from as_done(pool, call_bound, wanted, ahead=4 * workers)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def read_part(dataset: PairDataset, part: Part, tokenizer: "ReportTokenizer | None") -> tuple[np.ndarray, Tally]:
    """Rows (`ROW`) and tally of a part. A picture or a pair that cannot be read is a failure; its row stays, without image."""
    rows = np.zeros(part.stop - part.start, dtype=ROW)
    tally = Tally()
    for row, index in zip(rows, range(part.start, part.stop), strict=True):
        row["split"], row["index"] = part.number, index
        try:
            pair = dataset.pair(part.split, index)
        except UserError as error:
            tally.failures.append((f"{part.split} {index}", str(error)))
            continue
        row["id"], row["patient"] = name_key(pair.id), name_key(pair.patient)
        row["study"] = name_key(f"{pair.patient}\n{pair.study}")
        _count(pair, tally)
        row["report"] = texts.text_key(pair.report)
        row["words"] = len((pair.report or "").split())
        if tokenizer is not None and pair.report:
            row["tokens"] = len(tokenizer.ids(pair.report)) + 1
        try:
            image, kind = _image(pair)
        except UserError as error:
            tally.failures.append((pair.id, str(error)))
            continue
        tally.of["kinds"][kind] += 1
        _measure(image, row)
    return rows, tally


def is_flat(rows: np.ndarray) -> np.ndarray:
    return (rows["image"] != 0) & (rows["spread"] < np.where(rows["high"] < DARK, FLAT_IN_THE_DARK, FLAT))


def is_dark(rows: np.ndarray) -> np.ndarray:
    """Nearly black pictures that are not empty, bool (n,): 12-bit values in a 16-bit file look so."""
    return (rows["image"] != 0) & (rows["high"] < DARK) & ~is_flat(rows)


def is_clipped(rows: np.ndarray) -> np.ndarray:
    """Pictures whose DICOM window cuts off much of them, bool (n,)."""
    return rows["clipped"] > CLIPPED


def name_key(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


def _count(pair: ImageReportPair, tally: Tally) -> None:
    tally.of["domains"][pair.domain or NOT_STATED] += 1
    tally.of["views"][pair.view or NOT_STATED] += 1
    tally.of["terms"][pair.terms or NOT_STATED] += 1
    if pair.findings is not None:
        tally.of["reports"]["labelled"] += 1
        tally.of["findings"].update(set(pair.findings))
    if pair.report is None:
        tally.of["reports"]["missing"] += 1
        return
    number = len(pair.report.split())
    tally.of["reports"]["empty"] += number == 0
    tally.of["reports"]["short"] += 0 < number < texts.VERY_SHORT
    tally.of["vocabulary"].update(texts.words(pair.report))
    tally.of["characters"].update(texts.unusual(pair.report))
    for kind in texts.damage(pair.report):
        tally.damaged[kind].append(pair.id)


def _image(pair: ImageReportPair) -> tuple[Image.Image, str]:
    """The picture as RGB, and the format and mode that it has in its file."""
    if isinstance(pair.image, Image.Image):
        return to_rgb(pair.image), f"in memory, {pair.image.mode}"
    path = Path(pair.image)
    image = read_image(path)
    with path.open("rb") as stream:
        stated = pair.extra.get(_SHA256)
        if stated is not None and hashlib.file_digest(stream, "sha256").hexdigest()[: len(stated)] != stated:
            raise UserError(f"image '{path}' is not the file that was prepared: its bytes do not match {_SHA256} '{stated}'")
        stream.seek(0)
        if is_dicom(stream.read(132), path):
            return image, "DICOM"
        stream.seek(0)
        with Image.open(stream) as stored:
            return image, f"{stored.format}, {stored.mode}"


def _measure(image: Image.Image, row: np.void) -> None:
    grey = image.convert("L")
    histogram = np.array(grey.histogram(), dtype=np.float64)
    share = np.cumsum(histogram) / histogram.sum()
    levels = np.arange(256)
    mean = (histogram * levels).sum() / histogram.sum()
    digest = hashlib.blake2b(f"{image.size}".encode(), digest_size=8)
    digest.update(image.tobytes())
    row["image"] = int.from_bytes(digest.digest(), "little") | 1
    row["hash"] = perceptual_hash(grey)
    row["width"], row["height"] = image.size
    row["low"], row["high"] = np.searchsorted(share, 0.005), np.searchsorted(share, 0.995)
    row["spread"] = np.sqrt((histogram * (levels - mean) ** 2).sum() / histogram.sum())
    row["clipped"] = image.info.get("clipped", 0.0)
    channels = np.asarray(image.resize((64, 64), Image.Resampling.BOX)).astype(np.int16)
    row["colour"] = np.mean(np.ptp(channels, axis=2) > _COLOURFUL) > 0.01
