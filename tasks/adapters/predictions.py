"""A folder of predictions as a system under test: any program, anywhere, that wrote down what it generated."""

import difflib
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from medim.canvas import MODALITIES
from medim.common.errors import UserError, named
from medim.common.files import hash_files, hash_of
from medim.imaging.images import read_image
from tasks.adapters.predictions_file import SUFFIXES, Line, read_predictions
from tasks.cases import SplitIds
from tasks.protocols import UNKNOWN_TRAINING, Prediction, Request

_WANTED = "`medim-bench data ids DATA` writes the ids that are wanted"


class PredictionFolder:
    """The predictions of a folder, or of a file in it (`read_predictions` describes the forms). `folder`: where they are.
    `name`: of the system in the table; the folder's by default, or the file's without its suffix. `given`, `ids`: as of
    `read_predictions`. Raises UserError: a mistake in the folder, by file and line."""

    def __init__(
        self, folder: str | Path, name: str | None = None, given: Mapping[str, str] | None = None, ids: Path | None = None
    ) -> None:
        self.folder = Path(folder)
        self.lines = read_predictions(self.folder, given or {}, ids)
        path = self.folder.resolve()
        self.root = path if path.is_dir() else path.parent
        self.name = name or (path.name if path.is_dir() else path.stem)

    @cached_property
    def fingerprint(self) -> str:
        """Hash over ids, reports and the bytes of the images, in their order."""
        return hash_of([[line.id, line.image and hash_files(line.image), line.report] for line in self.lines])

    def settings(self) -> dict[str, Any]:
        """Where the samples come from; how they were drawn is not known here."""
        return dict(UNKNOWN_TRAINING)

    def cannot(self, task: Request) -> str | None:
        """A task is possible where the folder has what it needs, of one case at least."""
        for what in task.needs:
            if not any(line.holds(what) for line in self.lines):
                return f"{self.folder} holds no {what}s"
        return None

    def answers(self, task: Request, cases: Sequence[str], known: Collection[str]) -> "FolderAnswers":
        """Which prediction answers which case; samples of an unprompted task stand for any, one each.
        Raises UserError: the task is prompted, and a prediction's id is no pair of the split, or none is of a case."""
        return self._answers(task.needs, cases, known) if task.prompted else self._samples(cases)

    def _answers(self, needs: Sequence[str], cases: Sequence[str], known: Collection[str]) -> "FolderAnswers":
        wanted = set(cases)
        why_not = known.why_not if isinstance(known, SplitIds) else dict.fromkeys(known, "no case").get
        lines, renamed = _by_file_name(self.lines, lambda id: id in wanted or why_not(id) is not None)
        others = [line for line in lines if line.id not in wanted]
        reasons = Counter(why_not(line.id) for line in others)
        if None in reasons:
            raise UserError(_stranger([line for line in others if why_not(line.id) is None], known))
        dropped = _dropped(reasons, len(lines))
        by_id = {line.id: line for line in lines if any(map(line.holds, needs or MODALITIES))}
        found = {id: by_id[id] for id in cases if id in by_id}
        if not found:
            none = f"none of its {len(self.lines)} predictions is of the {len(cases)} cases to be scored"
            raise UserError(f"{self.folder}: {none}{f': {dropped}' if dropped else ''}; {_WANTED}")
        at_the_end = list(found) == list(cases[: len(found)])
        missing = _missing(len(cases) - len(found), len(cases), "prediction", at_the_end)
        return FolderAnswers(found, "; ".join(filter(None, (renamed, dropped, missing))) or None, bring=True)

    def _samples(self, cases: Sequence[str]) -> "FolderAnswers":
        wanted = set(cases)
        found = {line.id: line for line in self.lines if line.id in wanted}
        others = [line for line in self.lines if line.id not in wanted]
        free = [id for id in cases if id not in found]
        found |= dict(zip(free, others, strict=False))
        if len(others) > len(free):
            note: str | None = f"the folder holds {len(self.lines)} samples, {len(cases)} are scored"
        else:
            note = _missing(len(cases) - len(found), len(cases), "sample", at_the_end=True)
        return FolderAnswers({id: found[id] for id in cases if id in found}, note, bring=False)


class FolderAnswers:
    """The lines that stand for some cases. `bring`: each answers its case, so that references beside it are the case's."""

    def __init__(self, lines: dict[str, Line], note: str | None, bring: bool) -> None:
        self.lines, self.note = lines, note
        self.ids = list(lines)
        self.references = {id: line.references for id, line in lines.items() if bring and line.references}

    def predictions(self, ids: Sequence[str]) -> list[Prediction]:
        """Those of some cases, images decoded to 8-bit RGB; a UserError names the line whose image cannot be."""
        found = []
        for id in ids:
            line = self.lines[id]
            with named(line.where):
                image = None if line.image is None else read_image(line.image)
            found.append(Prediction(id, image, line.report))
        return found


def _by_file_name(lines: Sequence[Line], is_known: Callable[[str], bool]) -> tuple[list[Line], str | None]:
    """The lines, those under the name of a file with their case's id, and a note of these.
    An id that is no pair's, as it stands, is one without an image's suffix, without the folders before it, or without both,
    where just one of the three is a pair's. Raises UserError: two lines are of one case then."""
    matched, renamed = {line.id: line for line in lines}, list[str]()
    for line in lines:
        bare = {line.id, re.split(r"[/\\]", line.id)[-1]}
        bare |= {id[: -len(suffix)] for id in bare for suffix in SUFFIXES if id.lower().endswith(suffix)}
        found = [] if is_known(line.id) else list(filter(is_known, bare))
        if len(found) == 1:
            if (first := matched.get(found[0])) is not None:
                raise UserError(
                    f"{line.where}: '{line.id}' is a second prediction for '{first.id}', after that of {first.where}"
                )
            renamed.append(f"'{line.id}' is '{found[0]}'")
            matched[found[0]] = replace(matched.pop(line.id), id=found[0])
    note = f"{len(renamed)} ids are of a case without folder and suffix, such as: {renamed[0]}" if renamed else None
    return list(matched.values()), note


def _missing(missing: int, cases: int, what: str, at_the_end: bool) -> str | None:
    there = cases - missing
    hint = f"; --limit {there} scores the first {there} cases" if at_the_end else ""
    have, count = ("has", "counts") if missing == 1 else ("have", "count")
    note = f"{missing} of {cases} cases {have} no {what} and {count} as missing (coverage {there / cases:.3g}){hint}"
    return note if missing else None


def _dropped(reasons: Mapping[str | None, int], given: int) -> str | None:
    """How many predictions are not scored, and why."""
    counts = ", ".join(f"{number} {reason}" for reason, number in reasons.items())
    return f"{sum(reasons.values())} of the {given} predictions match no case and are not scored: {counts}" if reasons else None


def _stranger(strangers: Sequence[Line], known: Collection[str]) -> str:
    line = strangers[0]
    close = difflib.get_close_matches(line.id, known, n=20, cutoff=0.5)  # the nearest first
    nearest = max(close, key=lambda id: sum(map(str.__eq__, id, line.id)), default=None)
    hint = f"; did you mean '{nearest}'?" if nearest else f" (its first is '{next(iter(known))}')" if known else ""
    more = f" ... and {len(strangers) - 1} more" if len(strangers) > 1 else ""
    return f"{line.where}: '{line.id}' is no pair of this split{hint}{more}; {_WANTED}"
