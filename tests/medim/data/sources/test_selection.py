"""Subsets are nested and keep patients whole; mixtures list every pair once and keep names apart."""

import json
import pickle
from collections import Counter
from fractions import Fraction

import pytest
from PIL import Image

from medim.common.errors import UserError
from medim.data.dataset import keys_of, pairs
from medim.data.loading import load_dataset
from medim.data.sources.selection import MixedDataset, Subset
from medim.data.splits import u_of
from medim.pair import SPLITS, ImageReportPair


class Named:
    """`patients` patients in train with 1, 2, 3, 1, 2, 3, ... pairs; one pair in val and two in test."""

    synthetic = True

    def __init__(self, name="a", patients=60, prefix=None, terms="CC0", checker=None):
        self.name, self.fingerprint, self.terms, self.domains = name, f"print-{name}", terms, (name,)
        self.prefix, self.checker = name if prefix is None else prefix, checker
        self.train = [(p, n) for p in range(patients) for n in range(1 + p % 3)]

    def size(self, split):
        return {"train": len(self.train), "val": 1, "test": 2}[split]

    def pair(self, split, index):
        patient, number = self.train[index] if split == "train" else (f"{split}{index}", 0)
        person = f"{self.prefix}-{patient}"
        return ImageReportPair(f"{person}-{number}", None, "", split, person, person)

    def image_checker(self):
        return self.checker

    report_checker = image_checker


def write_folder(folder, *rows):
    """A folder of pairs (grey of the picture, split, patient); the ids are the greys'."""
    folder.mkdir()
    for grey, _, _ in rows:
        Image.new("L", (2, 2), grey).save(folder / f"{grey}.png")
    lines = [{"id": f"{g}", "image": f"{g}.png", "report": "clear", "split": split, "patient": p} for g, split, p in rows]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def ids(data, split="train"):
    return [pair.id for pair in pairs(data, split)]


def test_subsets_are_nested_and_patients_whole():
    whole = Named(patients=200)
    one, ten, hundred = (Subset(whole, Fraction(share, 100)) for share in (1, 10, 100))
    assert ids(hundred) == ids(whole)
    assert set(ids(one)) < set(ids(ten)) < set(ids(whole))
    assert ids(ten) == [name for name in ids(whole) if name in set(ids(ten))]  # the order stays
    patients = {pair.patient for pair in pairs(ten, "train")}
    assert len(patients) == 20
    assert {pair.id for pair in pairs(whole, "train") if pair.patient in patients} == set(ids(ten))
    limit = sorted(u_of(f"a-{p}", 0) for p in range(200))[20]
    assert all(u_of(patient, 0) < limit for patient in patients)
    assert [ids(ten, split) for split in ("val", "test")] == [ids(whole, split) for split in ("val", "test")]
    assert set(ids(Subset(whole, 0.1, seed=1))) != set(ids(ten))


def test_a_small_share_keeps_one_patient_and_says_what_it_is():
    data = Subset(Named(patients=5), Fraction(1, 1000))
    assert len({pair.patient for pair in pairs(data, "train")}) == 1
    assert data.name == "a:train=0.1%"
    assert Subset(data.base, 0.1).fingerprint == Subset(data.base, Fraction(1, 10)).fingerprint != data.fingerprint
    with pytest.raises(IndexError, match="there is no number -1"):
        data.pair("train", -1)
    with pytest.raises(UserError, match="above 0 and up to 1"):
        Subset(Named(), 0)
    with pytest.raises(UserError, match="no pairs in split 'train'"):
        Subset(Named(patients=0), 1)


def test_a_mixture_lists_every_pair_once_and_in_turn():
    a, b = Named("a", 60), Named("b", 15)
    mixed = MixedDataset([a, b], [2, 1])
    for split in SPLITS:
        assert sorted(ids(mixed, split)) == sorted(ids(a, split) + ids(b, split))
        assert [name for name in ids(mixed, split) if name.startswith("a-")] == ids(a, split)
    parts = mixed.part_of("train")
    for count in range(5, len(parts), 5):  # every prefix holds the parts in proportion: four to one
        assert Counter(parts[:count].tolist())[1] == pytest.approx(count / 5, abs=1)
    assert [name.startswith("b-") for name in ids(mixed)] == parts.astype(bool).tolist()
    assert (mixed.name, mixed.terms, mixed.domains) == ("a:weight=2+b", "CC0", ("a", "b"))
    assert keys_of(mixed, "test", 1).patient == mixed.pair("test", 1).patient
    assert ids(pickle.loads(pickle.dumps(mixed))) == ids(mixed)


def test_names_get_a_prefix_only_where_they_collide():
    a, b, c = Named("a", 3), Named("b", 2, prefix="a", terms="CC BY; CC0"), Named("c", 3)
    mixed = MixedDataset([a, b, c], [1, 1, 1])
    everything = [pair for split in SPLITS for pair in pairs(mixed, split)]
    assert len({pair.id for pair in everything}) == len(everything)
    assert {pair.id[:2] for pair in everything} == {"1:", "2:", "c-"}
    assert all(pair.patient[:2] == pair.id[:2] == pair.study[:2] for pair in everything)
    assert {pair.terms for pair in everything} == {"CC0", "CC BY; CC0"}
    assert mixed.terms == "CC0; CC BY"


def test_one_archive_in_two_parts_may_not_disagree_on_a_patients_split(tmp_path):
    a = write_folder(tmp_path / "a", (1, "train", "p0"), (2, "train", "p1"), (3, "test", "p2"))
    b = write_folder(tmp_path / "b", (1, "train", "p0"), (4, "test", "p1"), (5, "train", "p3"))
    with pytest.raises(UserError, match="patient 'p1' is in 'train' of the first and in 'test' of the second"):
        load_dataset(f"{a}+{b}")
    with pytest.raises(UserError, match=r"'b:train=100%' hold the same images"):
        load_dataset(f"{a}+phantom+{b}:train=100%")


def test_equal_names_of_patients_alone_are_chance(tmp_path):
    a = write_folder(tmp_path / "a", (1, "train", "p0"), (2, "test", "p1"))
    b = write_folder(tmp_path / "b", (3, "test", "p0"), (1, "train", "p2"), (4, "train", "p1"))  # 1: a blank one, say
    assert [pair.patient for pair in pairs(load_dataset(f"{a}+{b}"), "test")] == ["1:p1", "2:p0"]


def test_one_archive_in_two_parts_of_one_split_mixes(tmp_path):
    a = write_folder(tmp_path / "a", (1, "train", "p0"), (2, "test", "p1"))
    b = write_folder(tmp_path / "b", (1, "train", "p0"), (3, "test", "p1"))
    assert load_dataset(f"{a}+{b}").size("test") == 2


def test_what_parts_share():
    class Reader:
        fingerprint = "r"

    assert MixedDataset([Named("a", checker=Reader()), Named("b", checker=Reader())], [1, 1]).image_checker() is not None
    assert MixedDataset([Named("a", checker=Reader()), Named("b")], [1, 1]).report_checker() is None
    assert MixedDataset([Named("a"), Named("b")], [1, 1]).image_checker() is None
    with pytest.raises(UserError, match="stands twice"):
        MixedDataset([Named("a"), Subset(Named("a"), 0.5)], [1, 1])
    with pytest.raises(UserError, match="did you mean 'train'"):
        MixedDataset([Named("a"), Named("b")], [1, 1]).pair("trian", 0)


def test_phantom_subset_opens_without_drawing():
    one, ten = load_dataset("phantom:train=1%"), load_dataset("phantom:train=10%")
    assert 400 < one.size("train") < 600
    inside = {keys_of(ten, "train", n).id for n in range(ten.size("train"))}
    assert {keys_of(one, "train", n).id for n in range(one.size("train"))} < inside
    pair = one.pair("train", 5)
    assert keys_of(one, "train", 5) == (pair.id, pair.study, pair.patient)


def test_real_domains_mix(shared_data):
    data = load_dataset(f"{shared_data / 'cxr'}:train=10%+{shared_data / 'pathology'}:weight=3")
    assert data.name == "cxr:train=10%+pathology:weight=3"
    assert data.domains == ("chest-xray", "pathology")
    assert not data.synthetic
    assert data.size("test") == 38 + 55
    assert {pair.domain for pair in pairs(data, "test", 4)} == {"chest-xray", "pathology"}
