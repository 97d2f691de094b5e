"""Generated samples to look at: which of a run are shown, as small pictures, reports, references and scores."""

import base64
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import pandas as pd
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict

from leaderboard.store import Run, Sample, read_samples, systems_of
from leaderboard.tables.boards import Row
from medim.common.errors import UserError
from medim.common.files import file_name
from medim.common.json_lines import read_models

THUMBNAIL = 128  # pixels, longer side
LARGEST = 8192 * 8192  # pixels of a picture that is read
SHEET = 1100  # pixels, width at most of the sheet of nearest training images
WITHHELD = "Samples are withheld: the terms of this data set do not allow its images and reports on a page."
NO_ROOM = "No samples here: this many runs leave no room on one page; build a page of fewer runs to see them."
# A score of a single sample is known by its name, as its metric often has another, or none. A score of neither list is good
# where there is much of it: a small distance to the training set is bad.
DESCRIPTIVE = ("length", "nats per token (image of another case)")
LOWER_IS_BETTER = (
    *("nats", "flagged", "verbatim", "8-gram overlap", "longest copied run"),
    *("contradicted findings", "repeated sentences"),
)
DISPUTED = "disputed"


@dataclass(frozen=True)
class Picture:
    """A data URI and its size in pixels; the page enlarges a `tiny` one with its pixels kept apart."""

    uri: str
    width: int
    height: int

    @property
    def tiny(self) -> bool:
        return max(self.width, self.height) < THUMBNAIL


@dataclass(frozen=True)
class Card:
    """One sample as the page shows it: `why` it was chosen, and in words the training pairs `nearest` to it, where known."""

    sample: Sample
    image: Picture | None
    reference_image: Picture | None
    why: tuple[str, ...] = ()
    nearest: tuple[str, ...] = ()

    @property
    def scores(self) -> str:
        """JSON, for the script that puts the cards in order."""
        return json.dumps({name: float(f"{value:.6g}") for name, value in self.sample.scores.items()})


@dataclass(frozen=True)
class Gallery:
    """The samples of one system on one task."""

    run: Run
    task: str
    system: str  # its folder's name
    is_model: bool
    cards: list[Card]
    total: int  # how many samples the run holds
    withheld: str | None  # why no card is shown, or None
    sheet: Picture | None = None  # samples beside their nearest training images, where the run drew them

    @property
    def size(self) -> int:
        """Characters that the pictures take on the page."""
        shown = [p for card in self.cards for p in (card.image, card.reference_image)]
        return sum(len(p.uri) for p in (*shown, self.sheet) if p)

    @property
    def scores(self) -> list[str]:
        """The scores by which the cards can be put in order."""
        return list(dict.fromkeys(name for card in self.cards for name in card.sample.scores))

    @property
    def directions(self) -> str:
        """JSON: whether high is good, by score."""
        return json.dumps({name: higher_is_better(name) for name in self.scores})


def galleries(runs: Sequence[Run], per_model: int, per_anchor: int, budget: int) -> list[Gallery]:
    """Reads the samples of every run; UserError for a broken `samples.jsonl` or a picture that cannot be read.
    `per_model`, `per_anchor`: most cards per task for the run's model and for each anchor.
    `budget`: most characters that all pictures together may take; above it every gallery is shortened alike."""
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


def of_rows(galleries: Sequence[Gallery], rows: Sequence[Row]) -> list[tuple[Row, Gallery]]:
    """Galleries in the order of the rows; of anchors that several runs share, the one that the row stands for."""
    known = {(gallery.run.manifest.run, gallery.system): gallery for gallery in galleries}
    places = {(row.first.run, file_name(row.first.model)): row for row in rows}
    return [(row, known[place]) for place, row in places.items() if place in known]


def _gallery(run: Run, task: str, system: str, limit: int, pictures: dict[Path, Picture]) -> Gallery:
    samples = read_samples(run, task, system)
    is_model = system == file_name(run.manifest.model)
    if run.manifest.withhold_samples:
        return Gallery(run, task, system, is_model, [], len(samples), WITHHELD)
    folder = run.samples(task, system)
    nearest = _nearest(folder / "nearest.jsonl")

    def picture(path: Path | None) -> Picture | None:
        if path is not None and path not in pictures:
            pictures[path] = thumbnail(path)
        return None if path is None else pictures[path]

    cards = [
        Card(sample, picture(sample.image), picture(sample.reference_image), why, nearest.get(sample.id, ()))
        for sample, why in choose(samples, limit)
    ]
    sheet = folder / "nearest.png"
    drawn = thumbnail(sheet, (SHEET, 100_000)) if is_model and limit and sheet.is_file() else None
    return Gallery(run, task, system, is_model, cards, len(samples), None, drawn)


class _NearestPairs(BaseModel):
    """A line of `nearest.jsonl`; a field `nearest (SPACE)` for each space in which the run looked."""

    model_config = ConfigDict(extra="allow")

    id: str


def _nearest(path: Path) -> dict[str, tuple[str, ...]]:
    """The training pairs nearest to each sample, by its id and in words: `phantom-train-10376, 0.287 away (pixels)`."""
    found: dict[str, tuple[str, ...]] = {}
    for _, line in read_models(path, _NearestPairs) if path.is_file() else ():
        pairs = {name.removeprefix("nearest "): pair for name, pair in (line.model_extra or {}).items() if "nearest (" in name}
        found[line.id] = tuple(
            f"{pair['id']}, {pair['distance']:.3g} away {space}" if "distance" in pair else f"{pair['id']} {space}"
            for space, pair in pairs.items()
            if pair["id"] is not None
        )
    return found


def thumbnail(path: Path, most: tuple[int, int] = (THUMBNAIL, THUMBNAIL)) -> Picture:
    """A picture, small ones exactly, others reduced to at most `most` pixels. Raises UserError where the file is none."""
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


# --- which samples -----------------------------------------------------------------------------------------------------------


def higher_is_better(score: str) -> bool | None:
    """The direction of a sample's score; None for a descriptive one, which has no worst and no best."""
    return None if score.startswith(DESCRIPTIVE) else not score.startswith(LOWER_IS_BETTER)


def score_behind(metric: str, scores: Sequence[str]) -> str:
    """The score of single samples that a metric sums up, by its name: `finding F1` of `macro finding F1`; empty for none.

    >>> score_behind("BLEU-4 (as given)", ["BLEU-1", "BLEU-4"])
    'BLEU-4'
    """
    return max((name for name in scores if name in metric), key=len, default="")


def choose(samples: Sequence[Sample], limit: int) -> list[tuple[Sample, tuple[str, ...]]]:
    """At most `limit` samples, each with all that it was chosen for (nothing for the first of the run).
    A third are the first of the run (`in_turn`), then the ends of each score in turn, a sixth of `limit` from each end at most;
    what is left over goes to the next ones of the run."""
    pool = in_turn(samples)
    chosen: dict[int, list[str]] = {index: [] for index in range(min(-(-limit // 3), len(pool)))}
    for index, why in _ends(pool, -(-limit // 6)):
        if index in chosen or len(chosen) < limit:
            chosen.setdefault(index, []).append(why)
    for index in range(len(pool)):
        if len(chosen) < limit:
            chosen.setdefault(index, [])
    return [(pool[index], tuple(why)) for index, why in chosen.items()]


def in_turn(samples: Sequence[Sample]) -> list[Sample]:
    """The samples with the domains taking turns; where only some samples kept their pictures, those."""
    groups: dict[str | None, list[Sample]] = {}
    for sample in [sample for sample in samples if sample.image or sample.reference_image] or samples:
        groups.setdefault(sample.domain, []).append(sample)
    return [sample for turn in zip_longest(*groups.values()) for sample in turn if sample is not None]


def _ends(pool: Sequence[Sample], turns: int) -> Iterator[tuple[int, str]]:
    """Positions in the pool with a reason each: the worst, the best and the most disputed of each score, then the next ones.
    The worst lie below the median and the best above it, where they are not the extreme itself: equal values are never both. A
    sample is disputed where the range of its ranks by the scores, as shares of all, is a half or more."""
    signs = {name: higher_is_better(name) for sample in pool for name in sample.scores}
    scores = pd.DataFrame(
        {
            name: [sample.scores.get(name, float("nan")) * (1 if better else -1) for sample in pool]
            for name, better in signs.items()
            if better is not None
        }
    )
    scores = scores.loc[:, scores.nunique() > 1]
    orders: dict[str, pd.Series] = {}
    for name in scores:
        values = scores[name].dropna().sort_values(kind="stable")
        orders[f"worst by {name}"] = values[(values < values.median()) | (values == values.min())]
        orders[f"best by {name}"] = values[(values > values.median()) | (values == values.max())][::-1]
    if scores.shape[1] > 1:
        ranks = (scores.rank() - 0.5) / scores.count()
        spread = (ranks.max(axis=1) - ranks.min(axis=1)).sort_values(ascending=False, kind="stable")
        orders[DISPUTED] = spread[spread >= 0.5]
    for turn in range(turns):
        for why, order in orders.items():
            if turn < len(order):
                yield int(order.index[turn]), why
