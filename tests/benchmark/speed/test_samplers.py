"""Figures follow from what was measured; baselines are held against the margin."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from benchmark.speed import samplers
from benchmark.speed.samplers import against_released, compare, lines_of, released_of, speed_of
from medim.common.errors import UserError
from tasks.metrics.statistics.additive import Additive


def test_figures_follow_from_costs():
    costs = [{"seconds": s, "flops": 6e9, "active_tokens": 100.0, "forwards": 4} for s in (0.5, 0.25, 9.0)]
    found = speed_of(costs, tokens=10, roof=48e9)
    assert found["samples_per_second"] == 2
    assert found["tokens_per_second"] == 20
    assert found["roof_share"] == pytest.approx(0.25)
    assert (found["forwards"], found["active_tokens"], found["flops_per_sample"]) == (4, 100, 6e9)


def score(hits) -> dict:
    additive = Additive.mean(hits, [str(k) for k in range(len(hits))], paired=False)
    return {"joint agreement": SimpleNamespace(additive=additive, value=additive.value(), reason=None)}


@pytest.mark.parametrize(("loss", "stands"), [(0.0, True), (0.01, True), (0.05, False)])
def test_non_inferior_is_the_whole_interval_above_the_margin(loss, stands):
    bench = SimpleNamespace(data=SimpleNamespace(ids=[str(k) for k in range(400)], seed=0))
    theirs = np.random.default_rng(0).random(400)
    found = compare(bench, score(theirs - loss), score(theirs), "joint-generation", 0.02)
    assert found["difference"] == pytest.approx(-loss)
    assert found["low"] - 1e-9 <= found["difference"] <= found["high"] + 1e-9
    assert found["non_inferior"] is stands


def test_equal_seeds_make_the_interval_narrow():
    """The mutation: unpaired, the same difference cannot be told from the spread of the samples."""
    bench = SimpleNamespace(data=SimpleNamespace(ids=[str(k) for k in range(400)], seed=0))
    theirs = np.random.default_rng(0).random(400)
    found = compare(bench, score(theirs), score(theirs), "joint-generation", 0.001)
    assert (found["low"], found["high"], found["non_inferior"]) == (0, 0, True)


def test_too_few_pairs_are_not_compared():
    bench = SimpleNamespace(data=SimpleNamespace(ids=["a", "b"], seed=0))
    found = compare(bench, score([1.0, 0.0]), score([1.0, 1.0]), "joint-generation", 0.02)
    assert found["difference"] is None
    assert found["reason"]


def test_the_released_procedure_is_timed_at_its_batch_and_at_ours(monkeypatch):
    """The clock: 3 s a pair one by one, 1 s in a batch of four; ours 0.5 s."""
    clock, drawn = itertools.count(), []

    def generate(task, system, cases, seeds):
        drawn.append((task, system, list(cases), list(seeds)))

    taken = iter([6.0, 2.0, 4.0])
    monkeypatch.setattr(samplers.time, "perf_counter", lambda: 0.0 if next(clock) % 2 == 0 else next(taken))
    data = SimpleNamespace(cases=list("abcdef"), ids=list("abcdef"))
    artifacts = SimpleNamespace(get=lambda *_: None, put=lambda *_: None)
    bench = SimpleNamespace(
        data=data,
        batch_size=4,
        artifacts=artifacts,
        generate=generate,
        draw=lambda task, name, system: (None, ["failed"] if name == "own" else []),
    )
    own, theirs = (SimpleNamespace(settings=lambda who=who: {"who": who}) for who in ("own", "theirs"))
    row, failures = against_released(bench, own, "own", theirs, ["joint-generation"], 1, 0.02)
    assert [(system is own, cases, seeds) for _, system, cases, seeds in drawn] == [
        (False, ["a"], [0]),
        (False, ["b"], [1]),
        (True, list("abcd"), [0, 1, 2, 3]),
        (False, list("abcd"), [0, 1, 2, 3]),
    ]
    assert row["tasks"]["joint-generation"]["ratio"] == {"batch 1": 6, "equal batch": 2}
    assert failures == ["failed"]
    told = "\n".join(lines_of(row))
    assert "2.00 samples/s against 0.333 at batch 1 (1, as its authors run it): 6.0 x as fast" in told
    assert "2.00 samples/s against 1.000 at equal batch (4, as we run ours): 2.0 x as fast" in told


def test_a_model_without_a_mask_is_refused_before_anything_is_drawn():
    config = SimpleNamespace(objective="autoregressive", transition="absorbing")
    with pytest.raises(UserError, match=r"^--baselines: model 'ar': procedure: 'released' fills what is masked, and an auto"):
        released_of(SimpleNamespace(model=SimpleNamespace(config=config), name="ar"))
