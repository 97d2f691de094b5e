"""The metrics of report generation under changes whose effect is known."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from benchmark.selftest.sheet import BLIND, FAIL, PASS, WARN, Sheet, half_of
from benchmark.speed.metrics import worded_otherwise
from medim.common.errors import UserError
from medim.data.phantom.dataset import Phantom
from medim.data.phantom.labels import CHEST
from medim.data.phantom.worlds import default_world
from tasks.cases import cases_of
from tasks.generation.report import ReportGeneration
from tasks.metrics.statistics.bootstrap import derangement
from tasks.metrics.text.captioning import METRICS as LEXICAL
from tasks.metrics.text.java import java_problem
from tasks.metrics.text.tokens import tokenise_jar, tokenise_python
from tasks.protocols import Cases, Prediction
from tasks.scoring.context import Context
from tasks.scoring.findings import MACRO_F1

SPLIT, COUNT = "test", 300
RELEASED = "medim-paper-v1"
READERS = (MACRO_F1, "micro finding F1", "macro finding precision", "macro finding recall")
Values = dict[str, float | None]
SEPARATORS = ("\u2028", "\u2029", "\x85", "\r", "\x0b", "\x0c", "\x1c", "\x1e")  # of lines, for one program or another
_SIDE = re.compile(r"\b(left|right)\b")
_OTHER = {"left": "right", "right": "left"}


def sheets() -> Iterator[Sheet]:
    """All perturbations of reports."""
    dataset = default_world(32)  # no metric here looks at the images
    cases = cases_of(dataset, SPLIT, 32, COUNT)
    context = Context.for_dataset(dataset)
    originals = [case.report for case in cases]
    perfect = ranking(cases, originals, context)
    given = worded_otherwise(originals, 0)
    nearly = ranking(cases, given, context)
    yield from _false_reports(dataset, cases, context)
    yield _missing(cases, given, nearly, context)
    yield _forgiven(cases, given, replace(context, protocol=RELEASED))
    yield _shuffled(cases, originals, perfect, context)
    yield _constant(cases, originals, perfect, context)
    yield _separators(cases, given, nearly, context)
    yield _order(cases, given, nearly, context)
    yield _refused(cases, context)


def ranking(cases: Cases, reports: Sequence[str | None], context: Context) -> Values:
    """Of all metrics for which more is better, but for those of one finding or one domain."""
    predictions = [Prediction(case.id, report=report) for case, report in zip(cases, reports, strict=True)]
    scores, _ = ReportGeneration().score(cases, predictions, context)
    return {score.metric: score.value for score in scores if score.higher_is_better and ":" not in score.metric}


def notices(sheet: Sheet, metric: str, true: float | None, false: float | None, what: str) -> None:
    """Whether a metric puts reports that are false below ones that say the same in other words."""
    if true is None or false is None:
        sheet.same(metric, true, false, "")
    elif false < true:
        sheet.add(metric, true, false, PASS, f"{what} cost more than other words for the same")
    elif metric in READERS:
        sheet.add(metric, true, false, FAIL, f"it reads findings, and does not see {what}")
    elif metric in LEXICAL:
        sheet.add(metric, true, false, BLIND, f"prefers reports with {what} to true ones in other words")
    else:
        sheet.add(metric, true, false, WARN, f"prefers reports with {what} to true ones in other words")


def _false_reports(dataset: Phantom, cases: Cases, context: Context) -> Iterator[Sheet]:
    """Before: the same findings in other words. After: the reference's own words, but false."""
    chest = [case for case in cases if case.domain == CHEST]
    flipped = partial(_with_denials_flipped, openings=dataset.openings)
    sided = [case for case in chest if _SIDE.search(case.report)]
    for name, chosen, change, what in (
        ("negation flipped (before: a true paraphrase)", chest, flipped, "flipped denials"),
        ("left and right swapped (before: a true paraphrase)", sided, _swapped_sides, "wrong sides"),
    ):
        sheet = Sheet(name)
        true = ranking(chosen, [dataset.reworded(SPLIT, int(case.id.rsplit("-", 1)[1])) for case in chosen], context)
        false = ranking(chosen, [change(case.report) for case in chosen], context)
        for metric, value in true.items():
            notices(sheet, metric, value, false[metric], what)
        yield sheet


def _missing(cases: Cases, given: Sequence[str], before: Values, context: Context) -> Sheet:
    sheet = Sheet("half of the reports missing (strict-v1)")
    after = ranking(cases, half_of(given), context)
    for metric, value in before.items():
        if metric == "macro finding precision":
            sheet.blind(metric, value, after[metric], "it asks only whether what is said is true: see the recall")
        else:
            sheet.falls(metric, value, after[metric], "a missing report scores as an empty one")
    return sheet


def _forgiven(cases: Cases, given: Sequence[str], context: Context) -> Sheet:
    sheet = Sheet(f"half of the reports missing ({RELEASED})")
    before, after = ranking(cases, given, context), ranking(cases, half_of(given), context)
    for metric, value in before.items():
        if metric.endswith(f"({RELEASED})"):
            sheet.blind(metric, value, after[metric], "missing reports are left out, as the authors' script does", share=0.05)
    return sheet


def _shuffled(cases: Cases, originals: Sequence[str], before: Values, context: Context) -> Sheet:
    sheet = Sheet("reports of other cases (before: the cases' own)")
    order = derangement(len(cases), np.random.default_rng(0))
    after = ranking(cases, [originals[index] for index in order], context)
    for metric, value in before.items():
        sheet.falls(metric, value, after[metric], "what a real report of somebody else is worth")
    return sheet


def _constant(cases: Cases, originals: Sequence[str], before: Values, context: Context) -> Sheet:
    sheet = Sheet("one report for all (before: the cases' own)")
    report = max(originals, key=lambda report: (originals.count(report), report))
    predictions = [Prediction(case.id, report=report) for case in cases]
    after = {score.metric: score.value for score in ReportGeneration().score(cases, predictions, context)[0]}
    for metric, value in before.items():
        sheet.falls(metric, value, after[metric], "what saying nothing about the image is worth")
    sheet.falls("distinct reports", len(set(originals)) / len(originals), after["distinct reports"], "collapse shows here")
    return sheet


def _separators(cases: Cases, given: Sequence[str], before: Values, context: Context) -> Sheet:
    sheet = Sheet("Unicode line separators in reports and references")
    split = [replace(case, report=_with_separators(case.report)) for case in cases]
    after = ranking(split, [_with_separators(report) for report in given], context)
    for metric, value in before.items():
        sheet.same(metric, value, after[metric], "each report still meets its own reference")
    texts = ["a\u2028b", "c\x85d", "e\rf", "g"]
    tokenisers = {"Python": lambda: [tokenise_python(text) for text in texts]}
    if java_problem() is None:
        tokenisers["jar"] = lambda: tokenise_jar(texts)
    for name, tokenised in tokenisers.items():
        aligned = tokenised() == ["a b", "c d", "e f", "g"]
        sheet.same(f"PTB tokenizer ({name})", 1.0, float(aligned), "four texts in, the same four out")
    return sheet


def _order(cases: Cases, given: Sequence[str], before: Values, context: Context) -> Sheet:
    sheet = Sheet("reports in another order")
    order = np.random.default_rng(0).permutation(len(cases)).tolist()
    after = ranking([cases[i] for i in order], [given[i] for i in order], context)
    for metric, value in before.items():
        sheet.same(metric, value, after[metric], "the order of files decides nothing")
    return sheet


def _refused(cases: Cases, context: Context) -> Sheet:
    sheet = Sheet("predictions that answer no case, or one case twice")
    first = cases[0]
    for metric, predictions in (
        ("two predictions of one case", [Prediction(first.id, report="a"), Prediction(first.id, report="b")]),
        ("a prediction of an unknown id", [Prediction("nobody", report="a")]),
    ):
        try:
            ReportGeneration().score(cases, predictions, context)
        except UserError:
            sheet.add(metric, None, None, PASS, "refused, not guessed at")
        else:
            sheet.add(metric, None, None, FAIL, "accepted: which of them was scored is anybody's guess")
    return sheet


def _swapped_sides(report: str) -> str:
    """Left for right and right for left."""
    return _SIDE.sub(lambda match: _OTHER[match.group()], report)


def _with_denials_flipped(report: str, openings: Collection[str]) -> str:
    """Every finding that is affirmed is denied, and the other way round; `openings`, which say what it shows, stay."""
    return " ".join(sentence if sentence in openings else _flipped(sentence) for sentence in _sentences(report))


def _sentences(report: str) -> list[str]:
    return [sentence for sentence in re.split(r"(?<=\.) ", report) if sentence]


def _flipped(sentence: str) -> str:
    for denial in ("there is no ", "no evidence of ", "no "):
        if sentence.startswith(denial):
            return "there is " + sentence.removeprefix(denial)
    if " not " in sentence:
        return sentence.replace(" not ", " ", 1)
    verb = re.search(r"\b(is|are)\b(?: an?\b)?", sentence)
    if verb is None:
        return f"no {sentence}"
    word = "no" if sentence.startswith("there ") else "not"
    return f"{sentence[: verb.end(1)]} {word}{sentence[verb.end() :]}"


def _with_separators(report: str) -> str:
    """Each second space becomes a line separator; not the line feed, which ends a sentence for a reader too."""
    words = report.split(" ")
    pieces = [words[0]]
    for number, word in enumerate(words[1:]):
        pieces += [SEPARATORS[number // 2 % len(SEPARATORS)] if number % 2 else " ", word]
    return "".join(pieces)
