"""Metrics of other packages are asked, named and told apart."""

from importlib.metadata import EntryPoint

import pytest

from medim.common.errors import UserError
from tasks.scoring import extensions
from tasks.scoring.context import Context
from tasks.scoring.scores import Score


def half(task, cases, predictions, context):
    if task != "report-generation":
        return []
    return [Score("share of cases answered", len(predictions) / len(cases), len(cases), 1.0, True, {"metric": "share"})]


@pytest.fixture
def registered(monkeypatch):
    def register(*names):
        entries = [EntryPoint(name, f"{__name__}:half", extensions.ENTRY_POINTS) for name in names]
        monkeypatch.setattr(extensions, "entry_points", lambda group: entries)
        monkeypatch.setattr(EntryPoint, "load", lambda self: half)

    return register


def test_a_registered_metric_is_asked_of_each_task(registered):
    registered("mine")
    assert extensions.extra_scores("image-generation", [1, 2], [1], None) == []
    [score] = extensions.extra_scores("report-generation", [1, 2], [1], None)
    assert score.value == 0.5
    assert extensions.versions() == [f"mine={__name__}:half"]


def test_the_second_of_one_name_is_withheld(registered):
    registered("mine", "yours")
    first, second = extensions.extra_scores("report-generation", [1, 2], [1], Context())
    assert (first.value, second.metric, second.value) == (0.5, "yours", None)
    assert "two metrics are called 'share of cases answered'" in second.reason


def test_a_name_of_the_task_itself_is_not_taken(registered):
    registered("mine")
    own = [Score("share of cases answered", 1.0, 2, 1.0, True, {})]
    [blank] = extensions.extra_scores("report-generation", [1, 2], [1], Context(), own)
    assert (blank.metric, blank.value) == ("mine", None)


def score(**fields):
    return Score(**{"metric": "m", "value": 1.0, "n": 2, "coverage": 1.0, "higher_is_better": True, "signature": {}, **fields})


def raising(error):
    def metric(*_):
        raise error

    return metric


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        (raising(RuntimeError("\x1b[1mno weights\x1b[0m\nmore")), "RuntimeError: no weights"),
        (raising(SystemExit("out")), "SystemExit: out"),
        (raising(UserError("give it a file")), "give it a file"),
        (lambda *_: None, "TypeError: "),
        (lambda *_: [0.5], "TypeError: gave float and no tasks.scoring.scores.Score"),
        (lambda *_: [score(value="high")], "ValueError: could not convert"),
        (lambda *_: [score(value=float("nan"))], "ValueError: 'm' has nan"),
        (lambda *_: [score(value="0.5")], "TypeError: 'm' has '0.5': a number is needed"),
        (lambda *_: [score(metric="a\nb")], "ValueError: a score is called"),
        (lambda _, cases, *__: cases.clear(), "TypeError: "),
        (lambda *_: [score(coverage=2)], "ValueError: 'm' has n 2 and coverage 2"),
        (lambda *_: [score(value=None)], "ValueError: 'm' has neither a value nor a reason"),
        (lambda *_: [score(signature={"x": {1}})], "TypeError: Object of type set"),
    ],
)
def test_whatever_a_registered_metric_does_is_its_own_loss(registered, monkeypatch, metric, reason):
    registered("broken", "mine")
    monkeypatch.setattr(EntryPoint, "load", lambda self: metric if self.name == "broken" else half)
    blank, whole = extensions.extra_scores("report-generation", [1, 2], [1], Context())
    assert (blank.metric, blank.value, whole.value) == ("broken", None, 0.5)
    assert reason in blank.reason
    assert blank.reason.isprintable()
