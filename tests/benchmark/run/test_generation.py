from dataclasses import dataclass

import pytest

from benchmark.run.generation import generate_missing, sample_seed
from benchmark.run.predictions import PredictionStore
from medim.common.errors import UserError
from tasks.protocols import Prediction


@dataclass(frozen=True)
class Item:
    id: str


ITEMS = [Item(f"{index}") for index in range(10)]


def generate(store, broken, batch_size=4, error=RuntimeError, calls=None):
    def batch(items, seeds):
        if calls is not None:
            calls.append([item.id for item in items])
        for item in items:
            if item.id in broken:
                raise error(f"no {item.id}")
        return [Prediction(item.id, report=str(seed)) for item, seed in zip(items, seeds, strict=True)]

    return generate_missing(store, ITEMS, batch, task="t", system="s", seed=3, batch_size=batch_size)


def test_seed_is_a_function_of_seed_task_and_id():
    assert sample_seed(0, "image", "a") == sample_seed(0, "image", "a")
    others = {sample_seed(seed, task, id) for seed in range(3) for task in ("image", "pair") for id in ("a", "b")}
    assert len(others) == 12
    assert all(0 <= seed < 2**63 for seed in others)


def test_failures_are_told_apart_and_the_rest_is_kept(tmp_path):
    store = PredictionStore(tmp_path)
    failures = generate(store, {"2", "7"})
    assert [(f.id, f.error) for f in failures] == [("2", "RuntimeError: no 2"), ("7", "RuntimeError: no 7")]
    assert set(store.lines) == {item.id for item in ITEMS} - {"2", "7"}
    assert store.lines["3"]["report"] == str(sample_seed(3, "t", "3"))


def test_the_next_call_tries_only_what_failed(tmp_path):
    generate(PredictionStore(tmp_path), {"2", "7"})
    calls = []
    assert generate(PredictionStore(tmp_path), set(), calls=calls) == []
    assert calls == [["2", "7"]]


def test_a_system_that_always_fails_raises(tmp_path):
    calls = []
    with pytest.raises(RuntimeError, match="no 3"):
        generate(PredictionStore(tmp_path), {item.id for item in ITEMS}, calls=calls)
    assert calls == [["0", "1", "2", "3"], ["0"], ["1"], ["2"], ["3"]]


def test_a_mistake_of_the_user_is_never_a_failed_sample(tmp_path):
    with pytest.raises(UserError, match="no 2"):
        generate(PredictionStore(tmp_path), {"2"}, error=UserError)


def test_predictions_must_answer_what_was_asked(tmp_path):
    store = PredictionStore(tmp_path)
    with pytest.raises(ValueError, match="were requested"):
        generate_missing(store, ITEMS[:1], lambda items, seeds: [Prediction("x")], task="t", system="s", seed=0, batch_size=1)
