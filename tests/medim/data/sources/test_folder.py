"""Folders of pairs: what is read, what is refused and how the refusal reads, and the real sets."""

import hashlib
import json
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medim.common.errors import UserError
from medim.common.files import hash_of
from medim.data.dataset import keys_of, pairs
from medim.data.loading import load_dataset
from medim.data.sources.folder import FolderDataset, ReportsOnly
from medim.data.sources.pairs_file import NOT_STATED
from medim.imaging.images import read_image, square, to_tensor
from medim.pair import SPLITS


def row(number: int, split: str = "train", **fields) -> dict:
    return {"id": f"p{number}", "image": f"images/{number}.png", "report": f"Report {number}.", "split": split} | fields


@pytest.fixture
def write(tmp_path):
    """Writes rows (or lines as they are) and three images; gives the folder."""
    folder = tmp_path / "set"
    (folder / "images").mkdir(parents=True)
    for number in range(4):
        Image.fromarray(np.full((4, 6), 60 * number, np.uint8)).save(folder / "images" / f"{number}.png")

    def writer(*rows: dict | str | bytes, name: str = "pairs.jsonl") -> Path:
        lines = [json.dumps(r).encode() if isinstance(r, dict) else r.encode() if isinstance(r, str) else r for r in rows]
        (folder / name).write_bytes(b"\n".join(lines) + b"\n")
        return folder

    return writer


def refusal(path, **options) -> str:
    with pytest.raises(UserError) as caught:
        FolderDataset(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_pairs_keep_order_fields_and_defaults(write):
    folder = write(
        row(0, "test"),
        "",
        row(1, study="s", patient="a", view="PA", domain="chest-xray", findings=["effusion"], terms="CC BY 4.0", size=[6, 4]),
        row(2, study="s", patient="a", domain="pathology", findings=[], terms=None, sections={"impression": "None."}),
    )
    data = FolderDataset(folder)
    assert (data.name, data.synthetic, data.image_checker(), data.report_checker()) == ("set", False, None, None)
    assert [data.size(split) for split in SPLITS] == [2, 0, 1]
    assert data.domains == ("chest-xray", "pathology")
    assert data.terms == f"{NOT_STATED}; CC BY 4.0"
    bare, first, second = data.pair("test", 0), *pairs(data, "train")
    assert (bare.id, bare.study, bare.patient, bare.findings, bare.terms) == ("p0", "p0", "p0", None, None)
    assert (first.id, first.study, first.patient, first.view, first.domain) == ("p1", "s", "a", "PA", "chest-xray")
    assert (first.findings, first.terms, dict(first.extra)) == (("effusion",), "CC BY 4.0", {"size": [6, 4]})
    assert (second.findings, dict(second.sections), dict(second.extra)) == ((), {"impression": "None."}, {})
    assert first.image == folder / "images" / "1.png"
    assert read_image(first.image).getpixel((0, 0)) == (60, 60, 60)
    assert [pair.id for pair in pairs(data, "train", limit=1)] == ["p1"]


def test_patient_defaults_to_the_study(write):
    data = FolderDataset(write(row(0, study="s")))
    assert data.pair("train", 0).patient == "s"


def test_the_file_itself_or_a_registered_name_opens_it_too(write):
    folder = write(row(0))
    assert FolderDataset(folder / "pairs.jsonl").name == "set"
    assert load_dataset(str(folder)).fingerprint == FolderDataset(folder).fingerprint
    assert load_dataset(str(folder / "pairs.jsonl")).size("train") == 1


def test_images_only(write):
    folder = write(row(0, report=None), name="images.jsonl")
    assert FolderDataset(folder).pair("train", 0).report is None
    write(row(1))  # pairs.jsonl, where there is one, comes first
    assert FolderDataset(folder).pair("train", 0).id == "p1"
    write(row(1, report=None))
    assert refusal(folder).endswith(
        "pairs.jsonl:1: field 'report' must be a string, not null; images without reports go into images.jsonl"
    )


def test_fields_of_others_may_hold_any_number(write):
    data = FolderDataset(write(row(0, meta={"d_dimer": float("inf"), "crp": float("nan")}), row(1)))
    assert [data.pair("train", number).report for number in range(2)] == ["Report 0.", "Report 1."]


def test_line_separators_byte_order_mark_and_carriage_returns(write):
    report = "No effusion.\u2028No nodule.\x85End."
    line = json.dumps(row(0, report=report), ensure_ascii=False).encode()
    data = FolderDataset(write(b"\xef\xbb\xbf" + line + b"\r", row(1)))
    assert data.size("train") == 2
    assert data.pair("train", 0).report == report


def test_fingerprint_follows_content_and_nothing_else(write):
    folder = write(row(0), row(1, "test"))
    base = FolderDataset(folder).fingerprint
    keys = dict(reversed(row(0).items()))
    assert FolderDataset(write(json.dumps(keys, indent=None, separators=(" ,", " : ")), "", row(1, "test"))).fingerprint == base
    moved = folder.parent / "elsewhere"
    shutil.copytree(folder, moved)
    assert FolderDataset(moved).fingerprint == base
    seen = {base}
    for rows in ([row(1, "test"), row(0)], [row(0), row(1, "val")], [row(0, note=1), row(1, "test")], [row(0)]):
        seen.add(FolderDataset(write(*rows)).fingerprint)
    write(row(0), row(1, "test"))
    Image.fromarray(np.full((4, 6), 1, np.uint8)).save(folder / "images" / "1.png")
    seen.add(FolderDataset(folder).fingerprint)
    assert len(seen) == 6


def test_it_travels_to_worker_processes(write):
    data = FolderDataset(write(row(0, size=[6, 4])))
    copy = pickle.loads(pickle.dumps(data))
    assert copy.fingerprint == data.fingerprint
    assert copy.size("train") == 1


def test_a_stated_hash_stands_for_the_file(write):
    folder = write(row(0, image_sha256="0123456789abcdef"), row(1, "test"))
    base = FolderDataset(folder).fingerprint
    Image.fromarray(np.full((4, 6), 9, np.uint8)).save(folder / "images" / "0.png")  # `data check` finds this, not opening
    assert FolderDataset(folder).fingerprint == base
    Image.fromarray(np.full((4, 6), 9, np.uint8)).save(folder / "images" / "1.png")
    assert FolderDataset(folder).fingerprint != base
    assert FolderDataset(folder).pair("train", 0).extra == {"image_sha256": "0123456789abcdef"}
    for wrong in ("0123456789ABCDEF", "0123", 7):
        assert "pairs.jsonl:1: field 'image_sha256' must be the first 16 hex digits" in refusal(
            write(row(0, image_sha256=wrong))
        )


def test_the_fingerprint_is_the_hash_of_the_whole_list(write):
    rows = [row(0), row(1, "test", findings=["é"])]
    folder = write(*rows)
    files = [hashlib.sha256((folder / r["image"]).read_bytes()).hexdigest() for r in rows]
    assert FolderDataset(folder).fingerprint == hash_of([[r, f] for r, f in zip(rows, files, strict=True)])


def test_a_line_is_read_when_its_pair_is_asked_for(write):
    folder = write(row(0), "", row(1, "val", report="\u00e9\u2028"), row(2))
    data = FolderDataset(folder)
    assert "Report" not in repr([*gc_reachable(data)])
    assert [keys_of(data, "train", n).id for n in range(2)] == ["p0", "p2"]
    with ThreadPoolExecutor(4) as pool:
        assert {pair.report for pair in pool.map(lambda _: data.pair("val", 0), range(50))} == {"\u00e9\u2028"}
    fresh = FolderDataset(folder)
    write(row(0))
    with pytest.raises(UserError, match=r"pairs\.jsonl: was changed after it had been opened"):
        fresh.pair("train", 0)


def gc_reachable(value):
    """Everything that an object holds, by its attributes and containers."""
    if isinstance(value, dict):
        for item in value.values():
            yield from gc_reachable(item)
    elif hasattr(value, "__dict__"):
        yield from gc_reachable(vars(value))
    else:
        yield value


def test_a_link_to_an_image_inside_is_the_image(write):
    folder = write(row(0), row(1, "test", image="images/link.png"))
    (folder / "images" / "link.png").symlink_to("0.png")
    assert refusal(folder).endswith("image 'images/0.png' occurs in train (line 1) and in test (line 2): split by patient")
    assert FolderDataset(folder, allow_leakage=True).size("test") == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "p1", "image": ', "pairs.jsonl:2: broken JSON: Expecting value (column 23)"),
        ('{"id": "a", "id": "b"}', "pairs.jsonl:2: broken JSON: field 'id' stands twice"),
        ("[1, 2]", "pairs.jsonl:2: a JSON object is needed, not a list"),
        (b'{"id": "\xff"}', "pairs.jsonl:2: not UTF-8: byte 9"),
        (json.dumps(row(1, report="\ud800")), "pairs.jsonl:2: a text holds half of a surrogate pair"),
        (row(1, id=7), "pairs.jsonl:2: field 'id' must be a string, not a number"),
        (row(1, id="p0"), "pairs.jsonl:2: id 'p0' was used on line 1"),
        (row(1, report="  \n"), "pairs.jsonl:2: field 'report' is empty"),
        (row(1, report=["a"]), "pairs.jsonl:2: field 'report' must be a string, not a list"),
        (row(1, patient=3.5), "pairs.jsonl:2: field 'patient' must be a string, not a number"),
        (row(1, patient=""), "pairs.jsonl:2: field 'patient' is empty"),
        (row(1, findings="effusion"), "pairs.jsonl:2: field 'findings' must be a list of strings, not a string"),
        (row(1, findings=[1]), "pairs.jsonl:2: field 'findings' must be a list of strings, not a list"),
        (row(1, sections=["a"]), "pairs.jsonl:2: field 'sections' must map names to strings, not be a list"),
        (row(1, "tets"), "pairs.jsonl:2: unknown split 'tets'; did you mean 'test'? (known: test, train, val)"),
        (row(1, image="images/11.png"), "pairs.jsonl:2: image 'images/11.png' does not exist"),
        (row(1, image="images"), "pairs.jsonl:2: image 'images' does not exist"),
        (row(1, image="a" * 300), f"pairs.jsonl:2: image '{'a' * 300}' is no path: File name too long"),
        (
            row(1, image="a\0b"),
            "pairs.jsonl:2: image 'a\\x00b' is no path: it holds a character that no file name has",
        ),
    ],
)
def test_a_mistake_is_told_by_file_line_and_field(write, line, message):
    assert refusal(write(row(0), line)).endswith(f"/set/{message}")


@pytest.mark.parametrize("field", ["id", "image", "report", "split"])
def test_a_missing_field_is_named(write, field):
    broken = {key: value for key, value in row(1).items() if key != field}
    assert refusal(write(row(0), broken)).endswith(f"pairs.jsonl:2: field '{field}' is missing")
    misspelt = broken | {field + "s": "x"}
    assert refusal(write(row(0), misspelt)).endswith(f"field '{field}' is missing; did you mean it by '{field}s'?")


def test_all_mistakes_are_counted(write):
    folder = write(row(0, "tran"), "{", row(1, report=""), row(2), row(3, image="gone.png"))
    assert refusal(folder).endswith(
        "pairs.jsonl:1: unknown split 'tran'; did you mean 'train'? (known: test, train, val) ... and 3 more"
    )


@pytest.mark.parametrize("how", ["absolute", "parent", "link"])
def test_an_image_cannot_leave_the_folder(write, tmp_path, how):
    outside = tmp_path / "outside.png"
    Image.new("L", (2, 2)).save(outside)
    (tmp_path / "set" / "link.png").symlink_to(outside)
    image = {"absolute": str(outside), "parent": "images/../../outside.png", "link": "link.png"}[how]
    assert f"pairs.jsonl:1: image '{image}' lies outside the folder" in refusal(write(row(0, image=image)))


def test_a_way_through_the_folder_is_no_escape(write):
    assert FolderDataset(write(row(0, image="images/../images/0.png"))).size("train") == 1


def test_a_patient_in_two_splits_is_refused(write):
    folder = write(row(0, patient="a"), row(1, "val", patient="b"), row(2, "test", patient="a"), row(3, patient="a"))
    assert refusal(folder).endswith("pairs.jsonl: patient 'a' occurs in train (line 1) and in test (line 3): split by patient")
    assert FolderDataset(folder, allow_leakage=True).size("train") == 2


def test_studies_are_numbered_within_patients(write):
    data = FolderDataset(write(row(0, study="study1", patient="a"), row(1, "test", study="study1", patient="b")))
    assert (data.size("train"), data.size("test")) == (1, 1)


def test_an_image_in_two_splits_is_refused_and_told_once(write):
    folder = write(row(0), row(1, "val", image="images/../images/0.png"))
    assert refusal(folder).endswith("image 'images/0.png' occurs in train (line 1) and in val (line 2): split by patient")
    folder = write(row(0, patient="a", study="s"), row(1, "val", patient="a", study="s", image="images/0.png"))
    assert refusal(folder).endswith("patient 'a' occurs in train (line 1) and in val (line 2): split by patient")


def test_folders_without_pairs_are_refused(write, tmp_path):
    assert "does not exist" in refusal(tmp_path / "nowhere")
    folder = write("", name="paris.jsonl")
    assert refusal(folder).endswith("has neither pairs.jsonl nor images.jsonl; it holds paris.jsonl")
    assert refusal(write("\n")).endswith("pairs.jsonl: holds no pairs")


def test_unknown_split_and_index(write):
    data = FolderDataset(write(row(0)))
    with pytest.raises(UserError, match="did you mean 'train'"):
        data.size("trian")
    with pytest.raises(IndexError, match="there is no number 1"):
        data.pair("train", 1)
    with pytest.raises(IndexError):
        data.pair("train", -1)


def test_unknown_name_gives_the_nearest():
    with pytest.raises(UserError, match=r"unknown data set 'phantm'; did you mean 'phantom'\?.*pairs\.jsonl"):
        load_dataset("phantm")
    with pytest.raises(UserError, match=r"'no/such/folder' does not exist"):
        load_dataset("no/such/folder")


REAL = {  # counts (train, val, test) and patients as the table beside the data states them
    "cxr": (148, 28, 38, 109),
    "pathology": (322, 54, 55, 54),
    "cxr-images-only": (136, 23, 23, 47),
}


@pytest.mark.parametrize("name", REAL)
def test_real_sets_open_and_every_image_decodes(shared_data, name):
    data = FolderDataset(shared_data / name)
    everything = [pair for split in SPLITS for pair in pairs(data, split)]
    assert (*(data.size(split) for split in SPLITS), len({pair.patient for pair in everything})) == REAL[name]
    assert not data.synthetic
    assert NOT_STATED not in data.terms
    assert data.domains == (("pathology",) if name == "pathology" else ("chest-xray",))
    assert all((pair.report is None) == (name == "cxr-images-only") for pair in everything)
    for pair in everything:
        image = read_image(pair.image)
        assert list(image.size) == pair.extra["size"]
        assert image.mode == "RGB"
    tensor = to_tensor([square(read_image(pair.image), 64) for pair in everything[:8]])
    assert tensor.std() > 0.1


def test_a_cut_real_image_is_refused_by_name(shared_data, tmp_path):
    source = FolderDataset(shared_data / "cxr").pair("val", 0).image
    cut = tmp_path / source.name
    cut.write_bytes(source.read_bytes()[:-4000])
    with pytest.raises(UserError, match=rf"{source.name}' cannot be read: .*truncated"):
        read_image(cut)


# ---- reports.jsonl ---------------------------------------------------------------------------------------------------------

LINE = {"id": "a", "report": "clear lungs .", "split": "test", "patient": "p", "terms": "MIT", "domain": "chest-xray"}


def write_reports(folder, *rows):
    folder.mkdir(exist_ok=True)
    (folder / "reports.jsonl").write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return folder


def test_reports_are_pairs_with_a_black_pixel(tmp_path):
    folder = write_reports(
        tmp_path / "refs", LINE, {"id": "b", "report": "x", "split": "train"}, {**LINE, "id": "c", "findings": []}
    )
    data = load_dataset(str(folder))
    assert isinstance(data, ReportsOnly)
    assert (data.name, data.terms, data.domains, data.synthetic) == ("refs", "MIT; not stated", ("chest-xray",), False)
    assert [data.size(split) for split in ("train", "val", "test")] == [1, 0, 2]
    first, second = (data.pair("test", index) for index in range(2))
    assert (first.id, first.report, first.patient, first.findings) == ("a", "clear lungs .", "p", None)
    assert second.findings == ()
    assert (first.image.size, first.image.getpixel((0, 0))) == ((1, 1), (0, 0, 0))
    assert data.keys("train", 0) == ("b", "b", "b")
    assert data.image_checker() is data.report_checker() is None


def test_the_fingerprint_of_reports_follows_the_content(tmp_path):
    first = ReportsOnly(write_reports(tmp_path / "a", LINE)).fingerprint
    spaced = json.dumps(LINE, indent=None, separators=(" , ", " : "))
    assert ReportsOnly(write_reports(tmp_path / "b", spaced)).fingerprint == first
    assert ReportsOnly(write_reports(tmp_path / "c", {**LINE, "report": "other"})).fingerprint != first


def test_pairs_come_before_reports(tmp_path):
    folder = write_reports(tmp_path / "both", LINE)
    assert ReportsOnly.fits(folder)
    (folder / "pairs.jsonl").write_text("")
    assert not ReportsOnly.fits(folder)
    with pytest.raises(UserError, match="holds no pairs"):
        FolderDataset(folder)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["{"], r"reports.jsonl:1: broken JSON"),
        ([LINE, {**LINE, "split": "val"}], r":2: id 'a' was used on line 1"),
        ([LINE, {**LINE, "id": "b", "split": "val"}], r": patient 'p' occurs in test \(line 1\) and in val \(line 2\)"),
        ([{**LINE, "split": "tset"}], r":1: unknown split 'tset'; did you mean 'test'"),
        ([{**LINE, "report": " "}], r":1: field 'report' is empty"),
        ([{"id": "a", "split": "test"}], r":1: field 'report' is missing"),
        ([{**LINE, "image": "a.png"}], r":1: field 'image' belongs into pairs.jsonl"),
        ([{**LINE, "findings": "none"}], r":1: field 'findings' must be a list of strings"),
        ([{**LINE, "report": "\ud800"}], r":1: a text holds half of a surrogate pair"),
        ([{**LINE, "patient": 3}], r":1: field 'patient' must be a string"),
        (["", ""], "holds no reports"),
    ],
)
def test_mistakes_in_reports_name_file_line_and_field(tmp_path, rows, message):
    with pytest.raises(UserError, match=message):
        ReportsOnly(write_reports(tmp_path / "refs", *rows))


def test_splits_and_places_outside_of_reports(tmp_path):
    data = ReportsOnly(write_reports(tmp_path / "refs", LINE))
    with pytest.raises(UserError, match="unknown split 'dev'"):
        data.size("dev")
    with pytest.raises(IndexError, match="there is no number 1"):
        data.pair("test", 1)
