import pytest

from medim.common.errors import UserError
from tasks.metrics.clinical import radgraph
from tasks.metrics.clinical.radgraph import RadGraph, graph_f1, open_parser


def entity(tokens: str, label: str, *relations: tuple[str, str]) -> dict:
    return {"tokens": tokens, "label": label, "relations": [list(relation) for relation in relations]}


REFERENCE = {
    "entities": {
        "1": entity("small", "Observation::definitely present", ("modify", "2")),
        "2": entity("effusion", "Observation::definitely present", ("located_at", "3")),
        "3": entity("left", "Anatomy::definitely present"),
    }
}
HYPOTHESIS = {
    "entities": {
        "1": entity("effusion", "Observation::definitely present", ("located_at", "2")),
        "2": entity("right", "Anatomy::definitely present"),
        "3": entity("left", "Anatomy::definitely present"),
        "4": entity("small", "Observation::definitely present"),
    }
}


def test_f1_by_hand():
    """Entities: 3 of 3 and 4. With relations: effusion and left of 3 and 4. Relations: left alone of 3 and 4."""
    assert graph_f1(REFERENCE, HYPOTHESIS) == pytest.approx((6 / 7, 4 / 7, 2 / 7))
    assert graph_f1(REFERENCE, REFERENCE) == (1, 1, 1)


def test_a_denied_observation_is_another_entity():
    denied = {"entities": {"1": entity("effusion", "Observation::definitely absent")}}
    present = {"entities": {"1": entity("effusion", "Observation::definitely present")}}
    assert graph_f1(present, denied) == (0, 0, 0)


def test_each_text_is_parsed_once():
    asked = []

    def parser(texts):
        asked.extend(texts)
        return {str(index): REFERENCE if "small" in text else HYPOTHESIS for index, text in enumerate(texts)}

    graphs = RadGraph(parser)
    scores = graphs.scores(["small effusion", "small  effusion", "other"], ["small effusion", None, "small effusion"])
    assert sorted(asked) == ["other", "small effusion"]
    assert scores.tolist() == [[1, 1, 1], [0, 0, 0], pytest.approx([6 / 7, 4 / 7, 2 / 7])]


def test_what_is_missing_is_named(monkeypatch, tmp_path):
    for name in ("MEDIM_RADGRAPH", "MEDIM_BENCH_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(radgraph, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install radgraph"):
        open_parser()
    monkeypatch.setattr(radgraph, "find_spec", lambda name: object())
    with pytest.raises(UserError, match="name it by MEDIM_RADGRAPH"):
        open_parser()
    with pytest.raises(UserError, match="no folder"):
        open_parser(tmp_path / "none")
    with pytest.raises(UserError, match="not 'radgraf'"):
        open_parser(tmp_path, "radgraf")
