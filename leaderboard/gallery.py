"""Generated samples to look at: small pictures, reports, references and scores, or the reason why they are withheld."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from leaderboard.errors import LeaderboardError
from leaderboard.store import Run, Sample, read_samples, systems_of

THUMBNAIL = 128  # pixels, longer side
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
    """One sample as the page shows it."""

    sample: Sample
    image: Picture | None
    reference_image: Picture | None


@dataclass(frozen=True)
class Gallery:
    """The samples of one system on one task.

    Attributes:
        cards: the first cases in the order of the run, each domain in turn; never a choice by quality.
        total: how many samples the run holds.
        withheld: why no card is shown, or None.
    """

    run: Run
    task: str
    system: str
    is_model: bool
    cards: list[Card]
    total: int
    withheld: str | None

    @property
    def size(self) -> int:
        """Characters that the pictures take on the page."""
        return sum(len(p.uri) for card in self.cards for p in (card.image, card.reference_image) if p)


def galleries(runs: Sequence[Run], per_model: int, per_anchor: int, budget: int) -> list[Gallery]:
    """Reads the samples of every run.

    Args:
        per_model, per_anchor: most cards per task for the run's own model and for each anchor.
        budget: most characters that all pictures together may take; above it every gallery is shortened alike.

    Raises:
        LeaderboardError: a broken `samples.jsonl` or a picture that cannot be read.
    """
    pictures: dict[Path, Picture] = {}
    result = [
        _gallery(run, task, system, per_model if system == run.manifest.model else per_anchor, pictures)
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
    if run.manifest.withhold_samples:
        return Gallery(run, task, system, system == run.manifest.model, [], len(samples), WITHHELD)
    cards = [Card(s, _picture(s.image, pictures), _picture(s.reference_image, pictures)) for s in in_turn(samples)[:limit]]
    return Gallery(run, task, system, system == run.manifest.model, cards, len(samples), None)


def in_turn(samples: Sequence[Sample]) -> list[Sample]:
    """The samples with the domains taking turns, each in its own order, so that a few samples show every domain.

    Where some samples kept their pictures and others did not, only the former.
    """
    pictured = [sample for sample in samples if sample.image or sample.reference_image]
    seen: dict[str | None, int] = {}
    keyed = []
    for sample in pictured or samples:
        seen[sample.domain] = seen.get(sample.domain, 0) + 1
        keyed.append((seen[sample.domain], list(seen).index(sample.domain), sample))
    return [sample for _, _, sample in sorted(keyed, key=lambda item: item[:2])]


def _picture(path: Path | None, pictures: dict[Path, Picture]) -> Picture | None:
    if path is None:
        return None
    if path not in pictures:
        pictures[path] = thumbnail(path)
    return pictures[path]


def thumbnail(path: Path) -> Picture:
    """A picture, at most 128 pixels on its longer side: small ones exactly, larger ones reduced.

    Raises:
        LeaderboardError: the file is missing or no picture.
    """
    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    except (OSError, UnidentifiedImageError) as error:
        raise LeaderboardError(f"{path}: cannot read the picture: {error}") from error
    exact = max(image.size) <= THUMBNAIL
    if not exact:
        image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, "WEBP", lossless=exact, quality=80, method=4)
    return Picture("data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode(), *image.size)
