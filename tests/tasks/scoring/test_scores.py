import pytest

from medim.common.errors import UserError
from tasks.protocols import Prediction
from tasks.scoring.findings import reference_findings
from tasks.scoring.scores import aligned, images_of, reports_of


def test_predictions_are_put_in_the_cases_order(world):
    cases = world.cases[:3]
    given = [Prediction("test-002", report="c"), Prediction("test-000", report="a")]
    assert [prediction.report for prediction in aligned(cases, given)] == ["a", None, "c"]


@pytest.mark.parametrize(
    ("ids", "message"),
    [(["test-000", "test-000"], "two predictions for case 'test-000'"), (["other"], "'other' answers no case")],
)
def test_strangers_and_doubles_are_refused(world, ids, message):
    with pytest.raises(UserError, match=message):
        aligned(world.cases[:2], [Prediction(i) for i in ids])


def test_images_come_to_the_size_of_the_case(world):
    big = world.cases[0].image.resize((64, 32))
    (image,) = images_of(world.cases[:1], [Prediction("test-000", image=big)])
    assert image.size == (16, 16)


def test_blank_reports_count_as_missing():
    assert reports_of([Prediction("a", report=" \n"), Prediction("b"), Prediction("c", report="x")]) == [None, None, "x"]


def test_reference_findings_come_from_the_data_or_the_report_checker(world):
    unknown = world.make_cases(5, "test", seed=1, known=False)
    known, source = reference_findings(world.cases[:5], world.context())
    assert source == "data set"
    assert reference_findings(unknown, world.context()) == (known, "report checker words")
    nothing, reason = reference_findings(unknown, world.context(checkers=False))
    assert nothing is None
    assert "no report checker" in reason


def test_no_cases_are_told():
    with pytest.raises(UserError, match="no cases to score"):
        aligned([], [])
