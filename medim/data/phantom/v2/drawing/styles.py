"""The three styles: a terse line, a paragraph, and a long report with headings."""

import numpy as np

from medim.data.phantom.v2.drawing.body import REGIONS, Body
from medim.data.phantom.v2.drawing.frames import Group, tell
from medim.data.phantom.v2.names import CHEST
from medim.data.phantom.v2.reading.statements import ABSENT, PRESENT, UNCERTAIN
from medim.data.phantom.v2.writing.chest import NORMAL_CHEST, OPENINGS_CHEST, OTHER_ANATOMY_CHEST, UNCHANGED_OVERALL
from medim.data.phantom.v2.writing.pathology import NORMAL_PATHOLOGY, OPENINGS_PATHOLOGY, OTHER_ANATOMY_PATHOLOGY
from medim.data.phantom.v2.writing.phrases import joined, pick, sentence

SHUFFLED = 0.12  # share of standard reports whose regions do not follow the systematic order
OPENED = 0.35  # share of standard reports that begin by naming the examination
NUMBERED = 0.5  # share of long reports with a numbered impression
OTHER_ANATOMY = 5  # most sentences on anatomy without findings in a long report; two at least
BREVITY = OTHER_ANATOMY + 2
SHORT_IMPRESSION = 5
COMPARISONS = ("Prior study.", "Previous examination.", "Prior study of the same patient.")
NO_COMPARISONS = ("None.", "None available.", "No prior study.")


def _normal(body: Body, rng: np.random.Generator) -> str:
    return sentence(pick(rng, NORMAL_CHEST if body.case.domain == CHEST else NORMAL_PATHOLOGY))


def _gone(body: Body) -> list[Group]:
    return [group for group in body.all_groups() if group.first.state == ABSENT]


def _nothing_asserted(body: Body) -> bool:
    return all(statement.state == ABSENT for statement in body.said.values())


def terse(body: Body) -> dict[str, str]:
    """One or two sentences: what is present, what is possible, what has gone, what is not there; parted by semicolons."""
    rng = body.streams.of("terse")
    opening, semicolons = rng.random(), rng.random() < 0.5
    present = body.list_items("listed", PRESENT)
    cells = body.cellularity_phrase(body.streams.of("listed", "cellularity"))
    sure = [*([cells] if cells else []), *present]
    parts = [joined(sure)] if sure else []
    unsure = body.list_items("listed", UNCERTAIN)
    if not cells:
        unsure = [*(text.removesuffix(".").lower().replace("h&e", "H&E") for text in body.cellularity()), *unsure]
    parts += ["; ".join(unsure)] if unsure else []
    gone = [tell(group, body.case, body.stream_of("told", group)) for group in _gone(body)]
    parts += ["; ".join(gone)] if gone else []
    if not parts:
        parts.append(_normal(body, rng).removesuffix("."))
    absent = body.list_absent()
    if absent:
        parts.append(f"no {absent}")
    if semicolons or len(parts) > 2:
        text = sentence("; ".join([parts[0], *(part[:1].lower() + part[1:] for part in parts[1:])]))
    else:
        text = " ".join(sentence(part) for part in parts)
    if opening < 0.1:
        text = f"{pick(rng, OPENINGS_CHEST if body.case.domain == CHEST else OPENINGS_PATHOLOGY)} {text}"
    return {"impression": text}


def _regions(body: Body, details: bool, shuffled: bool) -> list[str]:
    order = list(REGIONS[body.case.domain])
    if shuffled:
        order.sort(key=lambda region: body.streams.of("order", region).random())
    return [text for region in order for text in body.region(region, details)]


def standard(body: Body) -> dict[str, str]:
    """A paragraph: region by region, most of the time in the order of a systematic reading."""
    rng = body.streams.of("standard")
    opened, shuffled, closed = rng.random() < OPENED, rng.random() < SHUFFLED, rng.random() < 0.4
    opening = pick(rng, OPENINGS_CHEST if body.case.domain == CHEST else OPENINGS_PATHOLOGY)
    normal = _normal(body, rng)
    sentences = _regions(body, details=False, shuffled=shuffled)
    if _nothing_asserted(body) and (closed or not sentences):
        sentences.append(normal)
    return {"findings": " ".join([opening, *sentences] if opened else sentences)}


def _impression(body: Body, rng: np.random.Generator, most: int | None) -> str:
    numbered, normal, overall = rng.random() < NUMBERED, _normal(body, rng), pick(rng, UNCHANGED_OVERALL)
    cells = body.cellularity_phrase(body.streams.of("impression", "cellularity"))
    items = [cells] if cells and body.case.cellularity != "moderate" else []
    items += body.list_items("impression", PRESENT) + body.list_items("impression", UNCERTAIN)
    if not items:
        return normal
    told = [sentence(item) for item in items[:most]]
    courses = {statement.course for statement in body.said.values() if statement.finding is not None}
    if courses == {"unchanged"}:
        told.append(sentence(overall))
    if numbered and len(told) > 1:
        return " ".join(f"{number}. {text}" for number, text in enumerate(told, start=1))
    return " ".join(told)


def long(body: Body, comparison: bool, brevity: int = 0) -> dict[str, str]:
    """Headings, every region in order with details, absences and normal anatomy, and an impression.

    Args:
        comparison: whether the report has a comparison section.
        brevity: 0 for a report in full, up to `BREVITY` for a case with so much to tell that it would be too long: first the
            anatomy without findings goes, then details, then all but `SHORT_IMPRESSION` items of the impression. What the
            report says of each label stays.
    """
    rng = body.streams.of("long")
    chest = body.case.domain == CHEST
    others = OTHER_ANATOMY_CHEST if chest else OTHER_ANATOMY_PATHOLOGY
    chosen = rng.permutation(len(others))[: int(rng.integers(2, OTHER_ANATOMY + 1))][: max(OTHER_ANATOMY - brevity, 0)]
    sections: dict[str, str] = {}
    if rng.random() < 0.6:
        sections["examination" if chest else "specimen"] = pick(rng, OPENINGS_CHEST if chest else OPENINGS_PATHOLOGY)
    if comparison:
        sections["comparison"] = pick(rng, COMPARISONS if body.case.prior is not None else NO_COMPARISONS)
    told = _regions(body, details=brevity <= OTHER_ANATOMY, shuffled=False)
    sections["findings"] = " ".join([*told, *(sentence(others[int(number)]) for number in chosen)])
    sections["impression"] = _impression(body, rng, SHORT_IMPRESSION if brevity == BREVITY else None)
    return sections
