"""Splits are a pure function of the patient."""

import json

import pytest

from medim.common.errors import UserError
from medim.data.splits import assign, load_splits, nested_order, save_splits, u_of
from medim.pair import ImageReportPair

KEYS = [f"p{n:05d}" for n in range(4000)]
SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}


def test_u_is_frozen():
    # SHA-256 of b"0\0p10000032" begins with these 53 bits: written down once, so that published splits stay.
    assert u_of("p10000032", 0) == 0.33672029634987766
    assert 0 <= min(u_of(key, 3) for key in KEYS) < 0.001 < 0.999 < max(u_of(key, 3) for key in KEYS) < 1


def test_shares_are_met_and_stable():
    splits = {key: assign(key, SHARES, 7) for key in KEYS}
    counts = {split: list(splits.values()).count(split) for split in SHARES}
    assert counts["train"] == pytest.approx(3200, abs=80)
    assert counts["test"] == pytest.approx(400, abs=60)
    assert splits == {key: assign(key, {"test": 0.1, "val": 0.1}, 7) for key in reversed(KEYS)}
    assert splits != {key: assign(key, SHARES, 8) for key in KEYS}
    wider = {key: assign(key, {"test": 0.2}, 7) for key in KEYS}
    assert all(wider[key] == "test" for key in KEYS if splits[key] in ("test", "val"))


def test_edges():
    assert {assign(key, {}, 0) for key in KEYS} == {"train"}
    assert {assign(key, {"test": 1.0}, 0) for key in KEYS} == {"test"}


def test_nested_order():
    order = nested_order(KEYS + KEYS[:10], 0)
    assert sorted(order) == KEYS
    some = set(KEYS[::3])
    assert [key for key in order if key in some] == nested_order(some, 0)
    assert order[:40] != nested_order(KEYS, 1)[:40]


class Small:
    name, fingerprint, synthetic, terms, domains = "small", "f" * 16, True, "none", ()

    def __init__(self, **patients):
        self.patients = patients

    def size(self, split):
        return len(self.patients[split])

    def pair(self, split, index):
        patient = self.patients[split][index]
        return ImageReportPair(f"{split}{index}", None, "", split, patient, patient)


def test_saved_and_read(tmp_path):
    value = save_splits(tmp_path / "splits.json", Small(train=["b", "a", "b"], val=["c"], test=["d"]), seed=4, fractions=SHARES)
    assert json.loads((tmp_path / "splits.json").read_text()) == value
    assert value["splits"]["train"] == {"pairs": 3, "patients": ["a", "b"], "sha256": value["splits"]["train"]["sha256"]}
    assert (value["seed"], value["fractions"], value["fingerprint"]) == (4, SHARES, "f" * 16)
    assert load_splits(tmp_path / "splits.json") == {"a": "train", "b": "train", "c": "val", "d": "test"}
    same = save_splits(tmp_path / "other.json", Small(train=["a", "b"], val=["c", "c"], test=["e"]))
    assert same["splits"]["train"]["sha256"] == value["splits"]["train"]["sha256"]
    assert same["splits"]["test"]["sha256"] != value["splits"]["test"]["sha256"]


def test_refused(tmp_path):
    path = tmp_path / "splits.json"
    with pytest.raises(UserError, match="patient 'a' of data set 'small' occurs in train and in test"):
        save_splits(path, Small(train=["a"], val=[], test=["a"]))
    with pytest.raises(UserError, match="does not exist"):
        load_splits(path)
    path.write_text("[]")
    with pytest.raises(UserError, match="is no file of splits"):
        load_splits(path)
    value = save_splits(path, Small(train=["a"], val=[], test=["b"]))
    value["splits"]["test"]["patients"].append("c")
    path.write_text(json.dumps(value))
    with pytest.raises(UserError, match="patients of test do not have the hash"):
        load_splits(path)
