"""Writes the report of a case: varied wording, anatomical order most of the time, every finding said, some absences said."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medim.common.declared import read_table
from medim.data.phantom.labels import CHEST, SIDES
from medim.data.phantom.v1.cases import Case

MAX_TOKENS = 44
SHUFFLED = 0.15  # share of reports whose sentences do not follow the anatomy
_TOKEN = re.compile(r"[a-z0-9&'-]+|[.,]")
_COUNTS = {"1": "one", "2": "two", "3": "three"}
_ABSENT_TISSUE = {"glands": "gland formation"}  # as it is denied, where that is not the finding's name
Wordings = tuple[str, ...]


@dataclass(frozen=True)
class Words:
    """`words.yaml`: the wordings of each statement."""

    openings: dict[str, Wordings]
    normal: dict[str, Wordings]
    one_side: dict[str, Wordings]
    both_sides: dict[str, Wordings]
    unlike_sides: dict[str, Wordings]
    present: dict[str, Wordings]
    heart_normal: Wordings
    lungs_clear: Wordings
    no_devices: Wordings
    none_of: Wordings


WORDS = read_table(Path(__file__).with_name("words.yaml"), Words)


def count_tokens(report: str) -> int:
    """Words, full stops and commas of a report."""
    return len(_TOKEN.findall(report))


class _Draft:
    """Sentences in the order written, each with whether it may be dropped to save room."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.sentences: list[tuple[str, bool]] = []

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, wordings: Wordings, **words: str) -> str:
        return wordings[int(self.rng.integers(len(wordings)))].format(**words)

    def say(self, wordings: Wordings, **words: str) -> None:
        self.sentences.append((self.pick(wordings, **words), False))

    def deny(self, wordings: Wordings, **words: str) -> None:
        self.sentences.append((self.pick(wordings, **words), True))

    def deny_some(self, absent: Iterable[str], probability: float) -> None:
        """One sentence that denies each of `absent` with the given probability; none if it falls out empty."""
        these = [name for name in absent if self.chance(probability)]
        if these:
            listed = ", ".join(these[:-1]) + " or " + these[-1] if len(these) > 1 else these[0]
            self.deny(WORDS.none_of, these=listed)

    def finish(self, opening: str) -> str:
        """The report; absences are dropped at random until it fits."""
        if self.chance(SHUFFLED):
            self.rng.shuffle(self.sentences)
        remaining = list(self.sentences)
        while count_tokens(report := " ".join([opening, *(text for text, _ in remaining)])) > MAX_TOKENS:
            spare = [place for place, (_, optional) in enumerate(remaining) if optional]
            assert spare, f"findings alone exceed {MAX_TOKENS} tokens: {report}"
            del remaining[spare[int(self.rng.integers(len(spare)))]]
        return report


def _lateralised(draft: _Draft, case: Case, finding: str) -> bool:
    grades = {side: case.attributes.get(f"{side} {finding}", "") for side in SIDES if case.has(f"{side} {finding}")}
    if len(grades) == 2 and draft.chance(0.75):
        if grades["left"] == grades["right"]:
            draft.say(WORDS.both_sides[finding], grade=grades["left"])
        else:
            draft.say(WORDS.unlike_sides[finding], **grades)
        return True
    for side, grade in grades.items():
        draft.say(WORDS.one_side[finding], side=side, grade=grade)
    return bool(grades)


def _chest(draft: _Draft, case: Case) -> None:
    if case.has("cardiomegaly"):
        draft.say(WORDS.present["cardiomegaly"])
    elif draft.chance(0.55):
        draft.deny(WORDS.heart_normal)

    absent = [finding for finding in ("consolidation", "nodule") if not _lateralised(draft, case, finding)]
    if case.has("pulmonary edema"):
        draft.say(WORDS.present["pulmonary edema"])
    else:
        absent.append("pulmonary edema")
    if len(absent) == 3:
        if draft.chance(0.6):
            draft.deny(WORDS.lungs_clear)
    else:
        draft.deny_some(absent, 0.3)

    absent = [
        name
        for finding, name in (("effusion", "pleural effusion"), ("pneumothorax", "pneumothorax"))
        if not _lateralised(draft, case, finding)
    ]
    draft.deny_some(absent, 0.5)

    devices = [device for device in ("pacemaker", "endotracheal tube") if case.has(device)]
    if len(devices) == 2 and draft.chance(0.6):
        draft.say(WORDS.present["devices"])
    else:
        for device in devices:
            draft.say(WORDS.present[device])
    if not devices and draft.chance(0.3):
        draft.deny(WORDS.no_devices)


def _pathology(draft: _Draft, case: Case) -> None:
    draft.say(WORDS.present["cellularity"], grade=case.attributes["cellularity"])
    absent = []
    for finding in ("glands", "lymphocytic infiltrate", "necrosis", "pigment"):
        if not case.has(finding):
            absent.append(_ABSENT_TISSUE.get(finding, finding))
            continue
        number = case.attributes.get(finding, "1")
        plural = number != "1"
        draft.say(
            WORDS.present[finding],
            count=_COUNTS[number],
            glands="glands" if plural else "gland",
            lumen="lumens" if plural else "lumen",
            are="are" if plural else "is",
            infiltrates="infiltrates" if plural else "infiltrate",
            foci="foci" if plural else "focus",
            clusters="clusters" if plural else "cluster",
        )
    if draft.chance(0.6):
        draft.deny_some(absent, 0.65)
    else:
        for name in absent:
            draft.deny_some([name], 0.4)


def write_report(case: Case, rng: np.random.Generator) -> str:
    """The report of a case: lower case, sentences end in a full stop, at most 44 words and stops (`count_tokens`)."""
    draft = _Draft(rng)
    opening = draft.pick(WORDS.openings[case.domain])
    (_chest if case.domain == CHEST else _pathology)(draft, case)
    if not case.labels and draft.chance(0.5):
        draft.deny(WORDS.normal[case.domain])
    return draft.finish(opening)
