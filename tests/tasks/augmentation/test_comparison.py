"""A trained classifier's answers are scored against every finding that the cases show, also those that it never learned."""

from PIL import Image

from tasks.augmentation.comparison import Answers, score_answers
from tasks.protocols import Case
from tasks.scoring.context import Context
from tasks.scoring.findings import MACRO_F1

SHOWN = [frozenset({"edema"}), frozenset({"edema", "mass"}), frozenset(), frozenset({"mass"})]


def test_a_classifiers_findings_have_scores():
    image = Image.new("RGB", (8, 8))
    cases = [Case(str(row), f"p{row}", None, image, "", findings) for row, findings in enumerate(SHOWN)]
    for answers, expected in ((SHOWN, 1.0), ([findings - {"mass"} for findings in SHOWN], 0.5)):
        scores, samples = score_answers(cases, Answers(findings=answers), Context())
        assert {score.metric: score.value for score in scores}[MACRO_F1] == expected
        assert len(samples) == len(cases)
