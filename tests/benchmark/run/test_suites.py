import pytest

from benchmark.run.suites import load_suite, names, parse_suite
from medim.common.errors import UserError

GOOD = "title: t\nmodel: m\ndata: d\ntasks: [all]\nout: runs/x\n"


def test_every_shipped_suite_is_valid():
    assert "demo" in names()
    for name in names():
        assert load_suite(name).title


def test_demo_is_the_main_job():
    suite = load_suite("demo")
    assert (suite.model, suite.data, suite.limit, suite.split) == ("phantom-tiny", "phantom", 192, "test")
    assert suite.tasks == ("image-generation", "report-generation", "joint-generation")


def test_the_paper_suite_leaves_model_and_data_to_the_user():
    suite = load_suite("paper")
    assert (suite.model, suite.data_sets, suite.resolution, suite.limit) == (None, [], 512, 8000)
    assert "data prepare mimic-cxr" in suite.hint


def test_a_suite_may_have_several_data_sets():
    assert parse_suite(GOOD, "x.yaml").data_sets == ["d"]
    assert parse_suite(GOOD.replace("data: d", "data: [d, e]"), "x.yaml").data_sets == ["d", "e"]


def test_defaults():
    suite = parse_suite(GOOD, "x.yaml")
    assert (suite.split, suite.limit, suite.seed, suite.batch_size, suite.set) == ("test", None, 0, 64, {})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (GOOD + "limt: 3\n", "x.yaml: unknown field 'limt'; did you mean 'limit'"),
        (GOOD + "limit: 0\n", "x.yaml: field 'limit': Input should be greater"),
        (GOOD.replace("tasks: [all]\n", ""), "x.yaml: field 'tasks': Field required"),
        ("a: [", "x.yaml: broken YAML"),
    ],
)
def test_mistakes_name_file_and_field(text, told):
    with pytest.raises(UserError) as error:
        parse_suite(text, "x.yaml")
    assert told in str(error.value)
    assert "\n" not in str(error.value)
