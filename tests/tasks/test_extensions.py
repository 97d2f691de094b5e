"""Metrics of other packages are asked, named and told apart."""

from importlib.metadata import EntryPoint

import pytest

from tasks import extensions
from tasks.task import Score


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


def test_two_of_one_name_are_refused(registered):
    registered("mine", "yours")
    with pytest.raises(ValueError, match="two registered metrics are called 'share of cases answered'"):
        extensions.extra_scores("report-generation", [1, 2], [1], None)
