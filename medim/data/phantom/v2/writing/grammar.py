"""Writes the report of a case of phantom version 2: in one of three styles, with what it says of each finding beside it.

What is said is decided first (`statements`), label by label; how it is worded follows (`body`, `styles`), from streams that
belong to a finding, a kind or a region. The report of a twin therefore differs from the original's only in

* sentences that name the changed finding's kind (left and right may be told together);
* the list of absences of its region, from which it has gone or to which it has come (pleural ones may hang on another sentence
  of the region: "... without pneumothorax");
* the numbers of a numbered impression, a sentence that calls the whole picture normal or unchanged, and the layout of a terse
  line (its parts are one sentence).
"""

import re
from dataclasses import dataclass, field

import numpy as np

from medim.common.errors import UserError, unknown
from medim.data.phantom.v2.cases import Case
from medim.data.phantom.v2.drawing.body import Body
from medim.data.phantom.v2.drawing.styles import BREVITY, long, standard, terse
from medim.data.phantom.v2.reading.statements import Streams as _Streams
from medim.data.phantom.v2.reading.statements import plan

STYLES = ("terse", "standard", "long")
MIXED = "mixed"
SHARES = (0.3, 0.45, 0.25)  # of the styles in a mixed set
MAX_TOKENS = 256
_TOKEN = re.compile(r"[a-z0-9&'-]+|[.,:;/%]")


@dataclass(frozen=True)
class Report:
    """A report and what it says.

    Attributes:
        text: the whole report.
        sections: its parts by name: `findings` or `impression` alone, or with `examination`, `specimen`, `comparison`.
        mentions: for each label that it speaks of, `present`, `absent` or `uncertain`; other labels are left out.
        style: one of `STYLES`.
    """

    text: str
    sections: dict[str, str]
    mentions: dict[str, str]
    style: str = field(default="standard")


def count_tokens(report: str) -> int:
    """Words and stops of a report, whatever its case."""
    return len(_TOKEN.findall(report.lower()))


def write_report(
    case: Case,
    rng: np.random.Generator,
    style: str = MIXED,
    omission: float = 0.0,
    uncertainty: float = 0.1,
    comparison: bool = True,
) -> Report:
    """The report of a case; the same for the same case, options and state of `rng`.

    Args:
        style: one of `STYLES`, or `mixed`: drawn with `SHARES`.
        omission: probability that a finding which is present goes unmentioned (it is not denied either).
        uncertainty: probability that a mentioned finding is left open ("possible", "suspected", "cannot be excluded"); half as
            often again it is called "likely", "probable" or "consistent with", which counts as present. Devices are certain.
        comparison: whether findings are compared with the prior study, where the case has one.

    Raises:
        UserError: unknown style, or a rate outside 0 to 1 (`uncertainty`: outside 0 to 2/3, so that "likely" has room).
    """
    if style not in (*STYLES, MIXED):
        raise unknown("report style", style, (*STYLES, MIXED))
    if not 0.0 <= omission <= 1.0:
        raise UserError(f"phantom-v2: omission {omission} is outside 0..1")
    if not 0.0 <= uncertainty <= 2.0 / 3.0:
        raise UserError(f"phantom-v2: uncertainty {uncertainty} is outside 0..0.667 (half as many again are called likely)")
    streams = _Streams(rng)
    if style == MIXED:
        style = STYLES[int(streams.of("style").choice(len(STYLES), p=SHARES))]
    said = plan(case, streams, style, omission, uncertainty, comparison)
    body = Body(case, said, streams)
    sections, text = _lay_out(body, style, comparison)
    mentions = {label: statement.state for label, statement in said.items()}
    return Report(text, sections, mentions, style)


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
