import json

import pytest
from PIL import Image

from medim.common.errors import UserError
from medim.data.archives.archive import Excluded, Loss, Record, open_archive


def talk(*answers, question="<image>\nWhat is  seen?"):
    return [turn for text in answers for turn in ({"from": "human", "value": question}, {"from": "gpt", "value": text})]


ENTRIES = [
    {"id": "a", "image": "x/1.png", "conversations": talk("Clear\n lungs.", "Yes.", "No.")},
    {"id": "a", "image": "x/1.png", "conversations": talk("Effusion.", question="Describe.\n<image>")},
    {"id": 7, "image": "x/2.png", "conversatons": talk("Nodule."), "domain": {"chest_xray": True}},
    {"id": "text only", "conversations": talk("Hello.")},
]


def make(root, entries=ENTRIES, lines=False, **options):
    root.mkdir(exist_ok=True)
    name = "data.jsonl" if lines else "data.json"
    (root / name).write_text("\n".join(map(json.dumps, entries)) if lines else json.dumps(entries))
    (root / "x").mkdir(exist_ok=True)
    for number in (1, 2):
        Image.new("L", (4, 4), 50 * number).save(root / "x" / f"{number}.png")
    return open_archive("llava", root, None, options)


@pytest.mark.parametrize("lines", [False, True])
def test_the_answer_is_the_report(tmp_path, lines):
    archive = make(tmp_path, lines=lines, split="train", terms="CC BY 4.0", domain="mixed")
    *records, left_out = archive.records()
    assert left_out == Excluded("entry without an image")
    assert [record.fields["report"] for record in records] == ["Clear lungs.", "Effusion.", "Nodule."]
    assert [record.fields["id"] for record in records] == ["a", "a-2", "7"]
    assert records[0].fields == {
        "id": "a",
        "report": "Clear lungs.",
        "split": "train",
        "patient": "x/1",
        "study": "x/1",
        "domain": "mixed",
        "terms": "CC BY 4.0",
        "prompt": "What is seen?",
    }
    assert records[1].fields["prompt"] == "Describe."
    assert records[2].fields["domain"] == "mixed"
    assert [archive.image(record.source).getpixel((0, 0)) for record in records] == [(50,) * 3, (50,) * 3, (100,) * 3]
    assert archive.facts()["repeated_ids"] == 1
    assert archive.facts()["pairs_without_terms"] == 0


@pytest.mark.parametrize(("turn", "report"), [("first", "Clear lungs."), ("last", "No."), ("all", "Clear lungs. Yes. No.")])
def test_which_answer(tmp_path, turn, report):
    assert next(make(tmp_path, turn=turn).records()).fields["report"] == report


def test_entries_about_one_image_stay_in_one_split(tmp_path):
    entries = [
        {"id": f"{n}-{turn}", "image": f"x/{n}.png", "conversations": talk(f"Answer {turn}.")}
        for n in range(200)
        for turn in "ab"
    ]
    archive = make(tmp_path, entries, val=0.2, test=0.3, seed=5)
    splits = {}
    for record in archive.records():
        splits.setdefault(record.fields["patient"], set()).add(record.fields["split"])
    assert len(splits) == 200
    assert all(len(found) == 1 for found in splits.values())
    assert {"train", "val", "test"} == set.union(*splits.values())
    assert archive.facts()["drawn"] == {"by": "patient", "val": 0.2, "test": 0.3, "seed": 5}
    assert archive.facts()["pairs_without_terms"] == 400


def test_an_entrys_own_fields_are_used(tmp_path):
    row = {
        "id": "e",
        "image": "x/1.png",
        "conversations": talk("Clear."),
        "patient": "p9",
        "study": "s3",
        "split": "validation",
        "terms": "CC0-1.0",
        "domain": "chest-xray",
        "view": "PA",
        "findings": [],
    }
    (record,) = make(tmp_path, [row]).records()
    own = {name: value for name, value in row.items() if name not in ("image", "conversations")}
    assert {name: record.fields[name] for name in own} == own | {"split": "val"}
    (record,) = make(tmp_path, [row], split="test", patient_from="(.)").records()
    assert (record.fields["split"], record.fields["patient"]) == ("test", "e")


def test_several_images_share_the_answer(tmp_path):
    rows = [{"id": "m", "image": ["x/1.png", "x/2.png"], "conversations": talk("Both.")}]
    first, second = make(tmp_path, rows).records()
    assert (first.fields["id"], second.fields["id"]) == ("m-0", "m-1")
    assert first.fields["study"] == second.fields["study"]
    assert (first.source, second.source) == ("x/1.png", "x/2.png")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"id": "b", "image": "../b.png", "conversations": talk("x")}, "image '../b.png' leads outside"),
        ({"id": "b", "image": 3, "conversations": talk("x")}, "field 'image' must be a path"),
        ({"id": "b", "image": "b.png"}, "field 'conversations' is missing"),
        ({"id": "b", "image": "b.png", "conversations": "x"}, "must be a list of objects"),
        ({"id": "b", "image": "b.png", "conversations": [{"from": "human", "value": "x"}]}, "no turn is from 'gpt'"),
        ({"id": "b", "image": "b.png", "conversations": talk(None)}, "no text in 'value'"),
        ({"id": "b", "image": "b.png", "conversations": talk(" \n")}, "the report is empty"),
        (
            {"id": "b", "image": "b.png", "conversations": talk("x"), "split": "tran"},
            "unknown split 'tran'; did you mean 'train'",
        ),
        (["b"], "an object is needed"),
    ],
)
def test_a_broken_entry_is_lost_and_the_rest_kept(tmp_path, row, reason):
    loss, record = make(tmp_path, [row, ENTRIES[0]]).records()
    assert isinstance(loss, Loss)
    assert reason in loss.reason
    assert loss.item.startswith("data.json, entry 1")
    assert isinstance(record, Record)


def test_a_pattern_that_does_not_match_is_a_loss(tmp_path):
    (loss,) = make(tmp_path, ENTRIES[:1], patient_from=r"^p(\d+)").records()
    assert loss == Loss("data.json, entry 1 (a)", r"patient_from '^p(\d+)' does not match the id")


def test_another_form_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"annotations": [1]}')
    with pytest.raises(UserError, match=r"a\.json: an object with the key 'annotations'"):
        list(open_archive("llava", tmp_path).records())
    (tmp_path / "b.jsonl").write_text("")
    with pytest.raises(UserError, match=r"holds several of \*\.json and \*\.jsonl \(a\.json, b\.jsonl\)"):
        open_archive("llava", tmp_path)
    with pytest.raises(UserError, match=r"none' is no folder \(option images\)"):
        open_archive("llava", tmp_path, None, {"file": "a.json", "images": "none"})
    with pytest.raises(UserError, match="does not exist"):
        open_archive("llava", tmp_path / "none")


def test_the_file_itself_may_be_the_root(tmp_path):
    make(tmp_path)
    archive = open_archive("llava", tmp_path / "data.json")
    assert archive.image(next(archive.records()).source).size == (4, 4)


SHAREGPT = {
    "images": ["x/1.png"],
    "messages": [
        {"role": "system", "content": "You are."},
        {"role": "User", "content": "<image>Describe"},
        {"role": "assistant", "content": "Form."},
    ],
}
PARTS = {
    "image": [{"path": "x/1.png"}, {"path": "x/2.png"}],
    "messages": [
        {"role": "user", "content": [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "Compare."}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Second is worse."}]},
    ],
}


@pytest.mark.parametrize("lines", [False, True])
def test_the_dialects_of_sharegpt(tmp_path, lines):
    archive = make(tmp_path, [SHAREGPT, PARTS, {"image": "x/2.png", "conversations": SHAREGPT["messages"]}], lines)
    records = list(archive.records())
    assert [(record.fields["report"], record.fields["prompt"], record.source) for record in records] == [
        ("Form.", "Describe", "x/1.png"),
        ("Second is worse.", "Compare.", "x/1.png"),
        ("Second is worse.", "Compare.", "x/2.png"),
        ("Form.", "Describe", "x/2.png"),
    ]


def test_the_token_of_an_image_is_no_text(tmp_path):
    archive = make(
        tmp_path,
        [
            {"id": "a", "image": "x/1.png", "conversations": talk("Turn <image> first.", question="<image>\n<image> What?")},
            {"id": "b", "image": "x/1.png", "conversations": talk("<image>")},
        ],
    )
    record, lost = archive.records()
    assert (record.fields["report"], record.fields["prompt"]) == ("Turn first.", "What?")
    assert lost == Loss("data.json, entry 2 (b)", "the report is empty")
    assert archive.facts()["answers_with_image_token"] == 2
    assert archive.facts()["questions_with_other_image_tokens"] == 1


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"image": "x/1.png", "conversations": talk(float("nan"))}, "a turn has no text in 'value' or 'content' but NaN"),
        ({"image": "x/1.png", "conversations": talk("None")}, "the report is 'None', which stands for missing text"),
        ({"image": "x/1.png", "query": "?", "response": "!"}, "'conversations' is missing; the fields are: image, query, resp"),
        ({"image": "x/1.png", "messages": [{"role": "radiologist", "content": "x"}]}, "the turns are from 'radiologist'"),
        ({"images": [7], "messages": []}, "field 'images' must be a path, or a list of paths: [7]"),
        ({"image": "x/1.png", "images": ["x/2.png"]}, "the fields 'image' and 'images' name different pictures"),
        ({"id": True, "image": "x/1.png", "messages": talk("x")}, "field 'id' is neither a text nor a whole number: True"),
        ({"patient": 1.5, "image": "x/1.png", "messages": talk("x")}, "field 'patient' is neither a text nor a whole number"),
        ({"split": 5, "image": "x/1.png", "messages": talk("x")}, "field 'split' is no text: 5"),
        ({"findings": [1], "image": "x/1.png", "messages": talk("x")}, "field 'findings' holds neither labels nor text: [1]"),
    ],
)
def test_what_is_not_read_says_so(tmp_path, entry, says):
    (loss,) = make(tmp_path, [entry]).records()
    assert says in loss.reason


def test_whole_numbers_are_keys_and_labels_may_be_one_text(tmp_path):
    row = {"id": 7, "image": "x/1.png", "conversations": talk("Fine."), "patient": 12, "study": 3, "findings": "a; b"}
    (record,) = make(tmp_path, [row]).records()
    assert [record.fields[name] for name in ("id", "patient", "study", "findings")] == ["7", "12", "3", ["a", "b"]]
