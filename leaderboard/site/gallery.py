"""Generated samples to look at: small pictures, reports, references and scores, or the reason why they are withheld."""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from leaderboard.site.choice import Choice, choose
from leaderboard.store import Run, Sample, read_samples, systems_of
from medim.common.errors import UserError
from medim.common.files import file_name

THUMBNAIL = 128  # pixels, longer side
LARGEST = 8192 * 8192  # pixels of a picture that is read
SHEET = 1100  # pixels, width at most of the sheet of nearest training images
WITHHELD = "Samples are withheld: the terms of this data set do not allow its images and reports on a page."
NO_ROOM = "No samples here: this many runs leave no room on one page; build a page of fewer runs to see them."


@dataclass(frozen=True)
class Picture:
    """A thumbnail: a data URI and its size in pixels."""

    uri: str
    width: int
    height: int

    @property
    def tiny(self) -> bool:
        """Smaller than a thumbnail: the page enlarges it with its pixels kept apart."""
        return max(self.width, self.height) < THUMBNAIL


@dataclass(frozen=True)
class Card:
    """One sample as the page shows it.

    Attributes:
        why: what it was chosen for, such as `worst by BLEU-4`; empty for one of the first of the run.
        nearest: the training pairs nearest to it, in words, where the run looked for them.
    """

    sample: Sample
    image: Picture | None
    reference_image: Picture | None
    why: tuple[str, ...] = ()
    nearest: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gallery:
    """The samples of one system on one task.

    Attributes:
        system: its folder's name: the system's own where that is a harmless file name.
        cards: the first cases in the order of the run, each domain in turn, then the worst, the best and the most disputed.
        total: how many samples the run holds.
        withheld: why no card is shown, or None.
        sheet: samples beside their nearest training images, where the run drew them.
    """

    run: Run
    task: str
    system: str
    is_model: bool
    cards: list[Card]
    total: int
    withheld: str | None
    sheet: Picture | None = None

    @property
    def size(self) -> int:
        """Characters that the pictures take on the page."""
        shown = [p for card in self.cards for p in (card.image, card.reference_image)]
        return sum(len(p.uri) for p in (*shown, self.sheet) if p)

    @property
    def scores(self) -> list[str]:
        """The scores by which the cards can be put in order."""
        return list(dict.fromkeys(name for card in self.cards for name in card.sample.scores))


def galleries(runs: Sequence[Run], per_model: int, per_anchor: int, budget: int) -> list[Gallery]:
    """Reads the samples of every run.

    Args:
        per_model, per_anchor: most cards per task for the run's own model and for each anchor.
        budget: most characters that all pictures together may take; above it every gallery is shortened alike.

    Raises:
        UserError: a broken `samples.jsonl` or a picture that cannot be read.
    """
    pictures: dict[Path, Picture] = {}
    result = [
        _gallery(run, task, system, per_model if system == file_name(run.manifest.model) else per_anchor, pictures)
        for run in runs
        for task, system in systems_of(run)
    ]
    size = sum(gallery.size for gallery in result)
    if size <= budget:
        return result
    if per_model <= 1:
        return [replace(gallery, cards=[], withheld=NO_ROOM) for gallery in result]
    return galleries(runs, max(1, per_model * budget // size), per_anchor * budget // size, budget)


def _gallery(run: Run, task: str, system: str, limit: int, pictures: dict[Path, Picture]) -> Gallery:
    samples = read_samples(run, task, system)
    is_model = system == file_name(run.manifest.model)
    if run.manifest.withhold_samples:
        return Gallery(run, task, system, is_model, [], len(samples), WITHHELD)
    folder = run.samples(task, system)
    nearest = _nearest(folder / "nearest.jsonl")
    sheet = folder / "nearest.png"
    cards = [_card(choice, nearest, pictures) for choice in choose(samples, limit)]
    drawn = thumbnail(sheet, (SHEET, 100_000)) if is_model and limit and sheet.is_file() else None
    return Gallery(run, task, system, is_model, cards, len(samples), None, drawn)


def _card(choice: Choice, nearest: dict[str, tuple[str, ...]], pictures: dict[Path, Picture]) -> Card:
    sample = choice.sample
    return Card(
        sample, _picture(sample.image, pictures), _picture(sample.reference_image, pictures), choice.why,
        nearest.get(sample.id, ()),
    )  # fmt: skip


def _nearest(path: Path) -> dict[str, tuple[str, ...]]:
    """What `nearest.jsonl` of a run says of each sample, by id: `phantom-train-10376, 0.287 away (pixels)`."""
    if not path.is_file():
        return {}
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            parts = {name.partition("(")[2].rstrip(")"): part for name, part in entry.items() if name.startswith("nearest (")}
            found[entry["id"]] = tuple(
                f"{part['id']}, {part['distance']:.3g} away ({space})" if "distance" in part else f"{part['id']} ({space})"
                for space, part in parts.items()
                if part["id"] is not None
            )
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}:{number}: not a line of nearest training pairs: {error}") from error
    return found


def _picture(path: Path | None, pictures: dict[Path, Picture]) -> Picture | None:
    if path is None:
        return None
    if path not in pictures:
        pictures[path] = thumbnail(path)
    return pictures[path]


def thumbnail(path: Path, most: tuple[int, int] = (THUMBNAIL, THUMBNAIL)) -> Picture:
    """A picture, at most 128 pixels on its longer side (or `most` wide and high): small ones exactly, larger ones reduced.

    Raises:
        UserError: the file is missing or no picture.
    """
    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > LARGEST:
                raise OSError(f"{opened.width} x {opened.height} pixels are too many for a page")
            image = opened.convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: cannot read the picture: {error}") from error
    exact = max(image.size) <= THUMBNAIL
    if not exact:
        image.thumbnail(most, Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, "WEBP", lossless=exact, quality=80, method=4)
    return Picture("data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode(), *image.size)
