"""Writes the report of a case of phantom version 2: in one of three styles, with what it says of each finding beside it.

What is said is decided first (`statements`), label by label; how it is worded follows, from streams that
belong to a finding, a kind or a region. The report of a twin therefore differs from the original's only in

* sentences that name the changed finding's kind (left and right may be stated together);
* the list of absences of its region, from which it has gone or to which it has come (pleural ones may hang on another sentence
  of the region: "... without pneumothorax");
* the numbers of a numbered impression, a sentence that calls the whole picture normal or unchanged, and the layout of a terse
  line (its parts are one sentence).
"""

import re
from dataclasses import dataclass

import numpy as np

from medim.data.phantom.labels import ABSENT, CHEST, PRESENT, UNCERTAIN
from medim.data.phantom.v2.cases import Case
from medim.data.phantom.v2.findings import TABLES
from medim.data.phantom.v2.writing.body import Body
from medim.data.phantom.v2.writing.phrases import WORDS, joined, pick, sentence
from medim.data.phantom.v2.writing.sentences import tell
from medim.data.phantom.v2.writing.statements import MIXED, STYLES, Options, Streams, plan

SHARES = (0.3, 0.45, 0.25)  # of the styles in a mixed set
MAX_TOKENS = 256
_TOKEN = re.compile(r"[a-z0-9&'-]+|[.,:;/%]")
SHUFFLED = 0.12  # share of standard reports whose regions do not follow the systematic order
OPENED = 0.35  # share of standard reports that begin by naming the examination
NUMBERED = 0.5  # share of long reports with a numbered impression
OTHER_ANATOMY = 5  # most sentences on anatomy without findings in a long report; two at least
BREVITY = OTHER_ANATOMY + 2
SHORT_IMPRESSION = 5


@dataclass(frozen=True)
class Report:
    """A report and what it says."""

    text: str  # the whole report
    # its parts by name: `findings` or `impression` alone, or with `examination`, `specimen`, `comparison`
    sections: dict[str, str]
    mentions: dict[str, str]  # for each label that it speaks of, `present`, `absent` or `uncertain`; other labels are left out
    style: str  # one of `STYLES`


def count_tokens(report: str) -> int:
    """Words and stops of a report, whatever its case."""
    return len(_TOKEN.findall(report.lower()))


def write_report(case: Case, options: Options, rng: np.random.Generator | None = None) -> Report:
    """The report of a case: the same words for what a twin shares with it.
    `rng`: draws the wording; the case's own by default."""
    streams = Streams(rng or case.stream("report"))
    style = options.style
    if style == MIXED:
        style = STYLES[int(streams.of("style").choice(len(STYLES), p=SHARES))]
    said = plan(case, streams, style, options)
    sections, text = _lay_out(Body(case, said, streams), style, options.comparison)
    return Report(text, sections, {label: statement.state for label, statement in said.items()}, style)


def _lay_out(body: Body, style: str, comparison: bool) -> tuple[dict[str, str], str]:
    if style == "terse":
        sections = terse(body)
        return sections, sections["impression"]
    if style == "standard":
        sections = standard(body)
        return sections, sections["findings"]
    for brevity in range(BREVITY + 1):
        sections = long(body, comparison, brevity)
        text = "\n".join(f"{name.upper()}: {part}" for name, part in sections.items())
        if count_tokens(text) <= MAX_TOKENS:
            return sections, text
    raise AssertionError(f"report of {body.case.split} {body.case.index} exceeds {MAX_TOKENS} tokens: {text}")


def _normal(body: Body, rng: np.random.Generator) -> str:
    return sentence(pick(rng, WORDS.normal[body.case.domain]))


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
    gone = [tell(group, body.case, body.stream_of("told", group)) for group in body.all_groups() if group.first.state == ABSENT]
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
        text = f"{pick(rng, WORDS.openings[body.case.domain])} {text}"
    return {"impression": text}


def _regions(body: Body, details: bool, shuffled: bool) -> list[str]:
    order = list(TABLES.regions[body.case.domain])
    if shuffled:
        order.sort(key=lambda region: body.streams.of("order", region).random())
    return [text for region in order for text in body.region(region, details)]


def standard(body: Body) -> dict[str, str]:
    """A paragraph: region by region, most of the time in the order of a systematic reading."""
    rng = body.streams.of("standard")
    opened, shuffled, closed = rng.random() < OPENED, rng.random() < SHUFFLED, rng.random() < 0.4
    opening = pick(rng, WORDS.openings[body.case.domain])
    normal = _normal(body, rng)
    sentences = _regions(body, details=False, shuffled=shuffled)
    if all(statement.state == ABSENT for statement in body.said.values()) and (closed or not sentences):
        sentences.append(normal)
    return {"findings": " ".join([opening, *sentences] if opened else sentences)}


def _impression(body: Body, rng: np.random.Generator, most: int | None) -> str:
    numbered, normal, overall = rng.random() < NUMBERED, _normal(body, rng), pick(rng, WORDS.unchanged_overall)
    cells = body.cellularity_phrase(body.streams.of("impression", "cellularity"))
    items = [cells] if cells and body.case.cellularity != "moderate" else []
    items += body.list_items("impression", PRESENT) + body.list_items("impression", UNCERTAIN)
    if not items:
        return normal
    sentences = [sentence(item) for item in items[:most]]
    courses = {statement.course for statement in body.said.values() if statement.finding is not None}
    if courses == {"unchanged"}:
        sentences.append(sentence(overall))
    if numbered and len(sentences) > 1:
        return " ".join(f"{number}. {text}" for number, text in enumerate(sentences, start=1))
    return " ".join(sentences)


def long(body: Body, comparison: bool, brevity: int = 0) -> dict[str, str]:
    """Headings, every region in order with details, absences and normal anatomy, and an impression.
    `comparison`: whether the report has a comparison section.
    `brevity`: 0 for a report in full, up to `BREVITY` for a case with so much to tell that it would be too long: first the
    anatomy without findings goes, then details, then all but `SHORT_IMPRESSION` items of the impression. What the report says
    of each label stays."""
    rng = body.streams.of("long")
    chest = body.case.domain == CHEST
    others = WORDS.other_anatomy[body.case.domain]
    chosen = rng.permutation(len(others))[: int(rng.integers(2, OTHER_ANATOMY + 1))][: max(OTHER_ANATOMY - brevity, 0)]
    sections: dict[str, str] = {}
    if rng.random() < 0.6:
        sections["examination" if chest else "specimen"] = pick(rng, WORDS.openings[body.case.domain])
    if comparison:
        sections["comparison"] = pick(rng, WORDS.comparisons if body.case.prior is not None else WORDS.no_comparisons)
    regions = _regions(body, details=brevity <= OTHER_ANATOMY, shuffled=False)
    sections["findings"] = " ".join([*regions, *(sentence(others[int(number)]) for number in chosen)])
    sections["impression"] = _impression(body, rng, SHORT_IMPRESSION if brevity == BREVITY else None)
    return sections
