"""From a data set's split to the cases of a task."""

from collections.abc import Iterator
from pathlib import Path

from medim.data.dataset import PairDataset
from medim.data.images import read_image, square
from medim.errors import UserError
from medim.pair import SPLITS, ImageReportPair
from tasks.protocols import Case


def cases_of(dataset: PairDataset, split: str, resolution: int, limit: int | None = None) -> list[Case]:
    """The first `limit` cases of a split (all by default), with images of `resolution` x `resolution` pixels.

    A study is scored once: where it holds several images, its first pair stands for it.

    Raises:
        UserError: an unknown or empty split, a limit below 1, a pair without a report, an unreadable image.
    """
    if split not in SPLITS:
        raise UserError(f"unknown split '{split}' of data set '{dataset.name}' (known: {', '.join(SPLITS)})")
    if limit is not None and limit < 1:
        raise UserError(f"limit must be at least 1, not {limit}")
    cases: list[Case] = []
    for pair in _first_of_each_study(dataset, split):
        if limit is not None and len(cases) == limit:
            break
        cases.append(_case(dataset, pair, resolution))
    if not cases:
        raise UserError(f"data set '{dataset.name}' has no pairs in split '{split}'")
    return cases


def _first_of_each_study(dataset: PairDataset, split: str) -> Iterator[ImageReportPair]:
    seen: set[str] = set()
    for index in range(dataset.size(split)):
        pair = dataset.pair(split, index)
        if pair.study not in seen:
            seen.add(pair.study)
            yield pair


def _case(dataset: PairDataset, pair: ImageReportPair, resolution: int) -> Case:
    if pair.report is None or not pair.report.strip():
        raise UserError(f"pair '{pair.id}' of data set '{dataset.name}' has no report: it cannot be a reference")
    image = read_image(pair.image) if isinstance(pair.image, Path) else pair.image
    return Case(
        id=pair.id,
        patient=pair.patient,
        domain=pair.domain,
        image=square(image, resolution),
        report=pair.report,
        findings=None if pair.findings is None else frozenset(pair.findings),
    )
