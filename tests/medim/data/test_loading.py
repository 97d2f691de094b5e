"""Expressions of `--data`: what they open, how they are spelt, what is refused."""

import json

import pytest
from PIL import Image

from medim.common.errors import UserError
from medim.data.loading import Part, load_dataset, parse
from medim.data.sources.selection import MixedDataset, Subset


@pytest.fixture
def folder(tmp_path):
    """Eight patients in train, one in each of val and test."""

    def make(name: str, terms: str = "CC0"):
        path = tmp_path / name
        path.mkdir()
        Image.new("L", (4, 4)).save(path / "a.png")
        rows = [
            {
                "id": f"{name}{n}",
                "image": f"{split}.png",
                "report": "No.",
                "split": split,
                "patient": f"{name}p{n}",
                "terms": terms,
            }
            for n, split in enumerate(["train"] * 8 + ["val", "test"])
        ]
        for split in ("train", "val", "test"):
            Image.new("L", (4, 4), {"train": 0, "val": 90, "test": 180}[split]).save(path / f"{split}.png")
        (path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return make


def test_terms_of_an_expression():
    assert parse("phantom") == [Part("phantom", {})]
    assert parse("phantom:train=1%, seed=2 + a/b:weight=2") == [
        Part("phantom", {"train": "1%", "seed": "2"}),
        Part("a/b", {"weight": "2"}),
    ]


def test_options_reach_the_constructor():
    data = load_dataset("phantom:resolution=128")
    assert data.pair("val", 0).image.size == (128, 128)
    assert data.name == "phantom:resolution=128"
    assert data.fingerprint != load_dataset("phantom").fingerprint == load_dataset("phantom:resolution=64").fingerprint


def test_a_path_is_a_path_whatever_it_is_called(folder):
    assert load_dataset(folder("a+b:c=d")).size("train") == 8
    assert load_dataset(folder("c:d") + ":train=50%").size("train") == 4


def test_spelling_is_canonical(folder):
    a, b = folder("a"), folder("b")
    one, other = load_dataset(f"{a}:train=25%,weight=2+{b}"), load_dataset(f" {a}:weight=2.0,train=0.25,seed=0 + {b}:weight=1")
    assert isinstance(one, MixedDataset)
    assert one.name == other.name == "a:train=25%,weight=2+b"
    assert one.fingerprint == other.fingerprint != load_dataset(f"{a}:train=25%,weight=3+{b}").fingerprint
    assert one.fingerprint != load_dataset(f"{a}:train=25%,seed=1,weight=2+{b}").fingerprint
    assert one.size("train") == 10
    subset = load_dataset(f"{a}:allow_leakage=yes,train=25%,seed=1")
    assert isinstance(subset, Subset)
    assert subset.name == "a:allow_leakage=true,train=25%,seed=1"
    assert load_dataset("phantom:resolution=64").name == "phantom"


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("phantom:resolutoin=128", "unknown option of data set 'phantom' 'resolutoin'; did you mean 'resolution'"),
        ("phantom:trian=1%", "did you mean 'train'"),
        ("phantom:resolution=big", "data set 'phantom': resolution=big: input should be a valid integer"),
        ("phantom:128", "options are key=value, not '128'"),
        ("phantom:train=1%,train=2%", "'train' is given twice"),
        ("phantom:train=10", "as 10% or 0.1"),
        ("phantom:train=0%", "as 10% or 0.1"),
        ("phantom:train=x", "train=x must be a share"),
        ("phantom:seed=1", "there is no train= here"),
        ("phantom:train=1%,seed=-1", "seed=-1 must be a whole number"),
        ("phantom:weight=2", "weight is for a mixture"),
        ("phantom+phantm", "did you mean 'phantom'"),
        ("phantom+", "a data set is missing beside '+'"),
        ("phantom+phantom", "stands twice in the mixture"),
        ("phantom+phantom:train=1%", "stands twice in the mixture"),
        ("phantom:weight=-1+phantom:resolution=128", "weight=-1 must be a number above 0"),
        ("phantom:weight=1/0+phantom:resolution=128", "weight=1/0 must be a number above 0"),
    ],
)
def test_mistakes(expression, message):
    with pytest.raises(UserError) as caught:
        load_dataset(expression)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
