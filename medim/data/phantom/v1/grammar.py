"""Writes the report of a case: varied wording, anatomical order most of the time, every finding said, some absences said."""

import re
from collections.abc import Iterable

import numpy as np

from medim.data.phantom.v1.cases import Case
from medim.data.phantom.v1.names import CHEST, SIDES

MAX_TOKENS = 44
SHUFFLED = 0.15  # share of reports whose sentences do not follow the anatomy
_TOKEN = re.compile(r"[a-z0-9&'-]+|[.,]")

OPENINGS = {
    "chest-xray": ("frontal chest radiograph.", "chest x-ray.", "portable chest radiograph.", "frontal view of the chest."),
    "pathology": ("h&e section.", "histology patch, h&e stain.", "h&e stained tissue.", "tissue section, h&e."),
}
NORMAL = {
    "chest-xray": ("no acute abnormality.", "normal chest.", "no acute findings.", "no acute cardiopulmonary abnormality."),
    "pathology": ("unremarkable tissue.", "no abnormality is seen.", "normal tissue."),
}

# One side: {side}, and {grade} where the finding has one. The patient's side, as always.
ONE_SIDE = {
    "effusion": (
        "{grade} {side} pleural effusion.",
        "there is a {grade} {side} pleural effusion.",
        "{grade} pleural effusion on the {side}.",
        "a {grade} {side} effusion is seen.",
    ),
    "pneumothorax": (
        "{side} pneumothorax.",
        "there is a {side} pneumothorax.",
        "pneumothorax on the {side}.",
        "a {side} apical pneumothorax is seen.",
    ),
    "consolidation": (
        "{side} {grade} zone consolidation.",
        "consolidation in the {side} {grade} zone.",
        "there is consolidation in the {side} {grade} lung.",
        "airspace opacity in the {side} {grade} zone.",
    ),
    "nodule": (
        "{grade} nodule in the {side} mid zone.",
        "there is a {grade} {side} lung nodule.",
        "a {grade} nodule is seen in the {side} lung.",
        "{grade} {side} pulmonary nodule.",
    ),
}
# Both sides alike.
BOTH_SIDES = {
    "effusion": (
        "{grade} bilateral pleural effusions.",
        "bilateral {grade} effusions.",
        "there are {grade} pleural effusions on both sides.",
    ),
    "consolidation": (
        "bilateral {grade} zone consolidation.",
        "consolidation in both {grade} zones.",
        "there is bilateral {grade} zone airspace opacity.",
    ),
    "nodule": ("{grade} nodules in both lungs.", "bilateral {grade} lung nodules.", "there are {grade} bilateral nodules."),
}
# Both sides, each with its own grade.
UNLIKE_SIDES = {
    "effusion": ("{left} left and {right} right pleural effusions.", "pleural effusions, {left} left and {right} right."),
    "consolidation": ("consolidation in the left {left} and right {right} zones.",),
    "nodule": ("{left} left and {right} right lung nodules.",),
}
PRESENT = {
    "cardiomegaly": (
        "the heart is enlarged.",
        "cardiomegaly.",
        "there is cardiomegaly.",
        "the cardiac silhouette is enlarged.",
        "enlarged heart.",
    ),
    "pulmonary edema": (
        "pulmonary edema.",
        "there is pulmonary edema.",
        "perihilar haze consistent with pulmonary edema.",
        "bilateral perihilar edema.",
    ),
    "pacemaker": ("pacemaker in place.", "a pacemaker is present.", "there is a pacemaker.", "left chest pacemaker with lead."),
    "endotracheal tube": (
        "endotracheal tube in place.",
        "an endotracheal tube is present.",
        "there is an endotracheal tube.",
        "endotracheal tube in the trachea.",
    ),
    "devices": ("pacemaker and endotracheal tube in place.", "there is a pacemaker and an endotracheal tube."),
    "cellularity": (
        "cellularity is {grade}.",
        "{grade} cellularity.",
        "the tissue shows {grade} cellularity.",
        "{grade} cell density.",
    ),
    "glands": (
        "{count} {glands} with open {lumen}.",
        "{count} {glands} {are} seen.",
        "there {are} {count} {glands}.",
        "{count} {glands} {are} present.",
    ),
    "lymphocytic infiltrate": (
        "{count} dense lymphocytic {infiltrates}.",
        "lymphocytic infiltrate in {count} {foci}.",
        "{count} {clusters} of lymphocytes.",
        "there {are} {count} {clusters} of lymphocytes.",
    ),
    "necrosis": (
        "a large area of necrosis.",
        "necrosis is present.",
        "there is a pale necrotic area.",
        "an area of necrosis is seen.",
    ),
    "pigment": (
        "brown pigment is present.",
        "clusters of brown pigment.",
        "there is dark brown pigment.",
        "pigment granules are seen.",
    ),
}
HEART_NORMAL = ("heart size is normal.", "the heart is not enlarged.", "normal heart size.", "no cardiomegaly.")
LUNGS_CLEAR = ("the lungs are clear.", "both lungs are clear.", "no consolidation, nodule or edema.", "clear lungs.")
NO_DEVICES = ("no support devices.", "no pacemaker or tube.", "no lines or tubes.")
NONE_OF = ("no {these}.", "there is no {these}.", "no {these} is seen.", "no evidence of {these}.")
_COUNTS = {"1": "one", "2": "two", "3": "three"}


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

    def pick(self, wordings: tuple[str, ...], **words: str) -> str:
        return wordings[int(self.rng.integers(len(wordings)))].format(**words)

    def say(self, wordings: tuple[str, ...], **words: str) -> None:
        self.sentences.append((self.pick(wordings, **words), False))

    def deny(self, wordings: tuple[str, ...], **words: str) -> None:
        self.sentences.append((self.pick(wordings, **words), True))

    def deny_some(self, absent: Iterable[str], probability: float) -> None:
        """One sentence that denies each of `absent` with the given probability; none if it falls out empty."""
        these = [name for name in absent if self.chance(probability)]
        if these:
            listed = ", ".join(these[:-1]) + " or " + these[-1] if len(these) > 1 else these[0]
            self.deny(NONE_OF, these=listed)

    def finish(self, opening: str) -> str:
        """The report; absences are dropped at random until it fits."""
        if self.chance(SHUFFLED):
            self.rng.shuffle(self.sentences)
        kept = list(self.sentences)
        while count_tokens(report := " ".join([opening, *(text for text, _ in kept)])) > MAX_TOKENS:
            spare = [place for place, (_, optional) in enumerate(kept) if optional]
            assert spare, f"findings alone exceed {MAX_TOKENS} tokens: {report}"
            del kept[spare[int(self.rng.integers(len(spare)))]]
        return report


def _lateralised(draft: _Draft, case: Case, finding: str) -> bool:
    """Says a lateralised finding; False where neither side has it."""
    grades = {side: case.attributes.get(f"{side} {finding}", "") for side in SIDES if case.has(f"{side} {finding}")}
    if len(grades) == 2 and draft.chance(0.75):
        if grades["left"] == grades["right"]:
            draft.say(BOTH_SIDES[finding], grade=grades["left"])
        else:
            draft.say(UNLIKE_SIDES[finding], **grades)
        return True
    for side, grade in grades.items():
        draft.say(ONE_SIDE[finding], side=side, grade=grade)
    return bool(grades)


def _chest(draft: _Draft, case: Case) -> None:
    if case.has("cardiomegaly"):
        draft.say(PRESENT["cardiomegaly"])
    elif draft.chance(0.55):
        draft.deny(HEART_NORMAL)

    absent = [finding for finding in ("consolidation", "nodule") if not _lateralised(draft, case, finding)]
    if case.has("pulmonary edema"):
        draft.say(PRESENT["pulmonary edema"])
    else:
        absent.append("pulmonary edema")
    if len(absent) == 3:
        if draft.chance(0.6):
            draft.deny(LUNGS_CLEAR)
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
        draft.say(PRESENT["devices"])
    else:
        for device in devices:
            draft.say(PRESENT[device])
    if not devices and draft.chance(0.3):
        draft.deny(NO_DEVICES)


def _pathology(draft: _Draft, case: Case) -> None:
    draft.say(PRESENT["cellularity"], grade=case.attributes["cellularity"])
    names = {
        "glands": "gland formation",
        "lymphocytic infiltrate": "lymphocytic infiltrate",
        "necrosis": "necrosis",
        "pigment": "pigment",
    }
    absent = []
    for finding, name in names.items():
        if not case.has(finding):
            absent.append(name)
            continue
        number = case.attributes.get(finding, "1")
        plural = number != "1"
        draft.say(
            PRESENT[finding],
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
    opening = draft.pick(OPENINGS[case.domain])
    if case.domain == CHEST:
        _chest(draft, case)
    else:
        _pathology(draft, case)
    normal = not case.findings
    if normal and draft.chance(0.5):
        draft.deny(NORMAL[case.domain])
    return draft.finish(opening)
