import pytest

from leaderboard.tables.pairwise import Comparison, Comparisons
from medim.common.json_lines import read_models

FIELDS = {
    "task": "report-generation",
    "metric": "BLEU-4",
    "dataset": "phantom",
    "fingerprint": "f",
    "split": "test",
    "protocol": "strict-v1",
    "model": "m",
    "runs": ["r1"],
    "value": 0.5,
    "against": "n",
    "against_runs": ["r2"],
    "against_value": 0.4,
    "difference": 0.1,
    "ci_low": 0.05,
    "ci_high": 0.15,
    "p": 0.01,
    "p_adjusted": 0.02,
    "family": 3,
    "test": "paired randomisation by patient",
    "patients": 100,
    "margin": None,
    "verdict": "better",
}


def test_a_line_is_read_as_it_was_written(tmp_path):
    pair = Comparison(**FIELDS)
    (tmp_path / "c.jsonl").write_text(pair.to_line() + "\n\n")
    assert [read for _, read in read_models(tmp_path / "c.jsonl", Comparison)] == [pair]
    assert pair.separable


@pytest.mark.parametrize("changes", [{"verdict": "best"}, {"p": 1.5}, {"margin": 0.0}, {"ci_low": None}, {"more": 1}])
def test_what_is_no_comparison_is_refused(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        Comparison(**(FIELDS | changes))


def test_a_board_sees_its_own():
    pair = Comparison(**FIELDS)
    other = Comparison(**(FIELDS | {"split": "val"}))
    here = Comparisons([pair, other]).on("phantom", "f", "test", "strict-v1", "report-generation")
    assert here.pairs == [pair]
    assert here.of("BLEU-4") == [pair]
    assert here.of("METEOR") == []
