"""LLaVA's conversations as its documentation describes them."""

import copy
import json

import pytest
from PIL import Image

from benchmark.export.formats import FORMS
from medim.common.errors import UserError
from tasks.downstream.llava_data import load_conversations

GOOD = {
    "id": "a",
    "image": "images/a.png",
    "conversations": [
        {"from": "human", "value": "<image>\nWhat is seen?"},
        {"from": "gpt", "value": "A sign."},
        {"from": "human", "value": "Of what?"},
        {"from": "gpt", "value": "Of amber."},
    ],
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (4, 4), (7, 8, 9)).save(tmp_path / "images" / "a.png")
    return tmp_path


def write(folder, value):
    file = folder / "data.json"
    file.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return file


def test_a_sample(folder):
    [conversation] = load_conversations(write(folder, [GOOD]))
    assert conversation.turns == (("What is seen?", "A sign."), ("Of what?", "Of amber."))
    example = conversation.example()
    assert (example.id, example.report, example.findings) == ("a", "A sign.", None)
    assert example.picture().getpixel((0, 0)) == (7, 8, 9)


def test_images_may_lie_elsewhere(folder):
    file = write(folder, [GOOD | {"image": "a.png"}])
    assert load_conversations(file, folder / "images")[0].image == folder / "images" / "a.png"


def changed(**turn):
    sample = copy.deepcopy(GOOD)
    sample["conversations"][turn.pop("place")] |= {key.rstrip("_"): value for key, value in turn.items()}
    return sample


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[{", r"data.json.* broken JSON"),
        ([], "a list of samples is needed"),
        ({"a": GOOD}, "a list of samples is needed"),
        (["a"], "sample 1: an object is needed"),
        ([{key: GOOD[key] for key in ("id", "image")}], "sample 1: field 'conversations' is missing"),
        ([GOOD, GOOD], "sample 2: field 'id' 'a' is that of sample 1 too"),
        ([GOOD | {"id": " "}], "sample 1: field 'id' must be"),
        ([GOOD | {"id": True}], "sample 1: field 'id' must be"),
        ([GOOD | {"image": 3}], "field 'image' must be a path"),
        ([GOOD | {"image": "images/b.png"}], "b.png' does not exist"),
        ([GOOD | {"image": "a\0.png"}], r"image': 'a\\x00\.png' is no path: it holds a character that no file name has"),
        ([GOOD | {"image": "../a.png"}], r"'\.\./a.png' leaves its folder"),
        ([GOOD | {"conversations": GOOD["conversations"][:1]}], "each with its answer"),
        ([changed(place=1, from_="human")], "turn 2: 'from' must be 'gpt', not 'human'"),
        ([changed(place=0, from_="user")], "turn 1: 'from' must be 'human', not 'user'"),
        ([changed(place=0, value="What?")], "turn 1: <image> must stand once"),
        ([changed(place=0, value="<image><image> What?")], "turn 1: <image> must stand once"),
        ([changed(place=2, value="<image> again?")], "turn 3: <image> may stand in the first turn alone"),
        ([changed(place=1, value="  ")], "turn 2: 'value' must be a text"),
        ([changed(place=0, value="<image>")], "turn 1: 'value' must be a text"),
    ],
)
def test_mistakes_are_named(folder, value, message):
    with pytest.raises(UserError, match=message):
        load_conversations(write(folder, value))


def test_no_file(folder):
    with pytest.raises(UserError, match="does not exist"):
        load_conversations(folder / "none.json")


def test_what_the_export_writes_is_read(examples, tmp_path):
    pairs = examples(5)
    (tmp_path / "images").mkdir()
    lines = []
    for pair in pairs:
        pair.image.save(tmp_path / "images" / f"{pair.id}.png")
        lines.append({"id": pair.id, "image": f"images/{pair.id}.png", "report": pair.report, "split": "train"})
    FORMS["llava"]().write(tmp_path, lambda: iter(lines), 4)
    read = [conversation.example() for conversation in load_conversations(tmp_path / "data.json")]
    assert [(one.id, one.report) for one in read] == [(pair.id, pair.report) for pair in pairs]
    assert [one.picture().tobytes() for one in read] == [pair.image.tobytes() for pair in pairs]
