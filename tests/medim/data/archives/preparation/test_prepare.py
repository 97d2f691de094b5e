"""Preparing: counts, losses, leaks, estimate, continuing after SIGKILL, refusing another configuration."""

import hashlib
import io
import json
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from benchmark.cli import main
from medim.common.errors import UserError
from medim.common.locks import held
from medim.data.archives.archive import open_archive
from medim.data.archives.preparation import listing
from medim.data.archives.preparation.pictures import Storage, encode, image_name
from medim.data.archives.preparation.prepare import Preparation
from medim.data.sources.folder import FolderDataset


def make_tree(root: Path, count: int = 12, side: int = 20) -> Path:
    """Pictures with same-stem reports in train, val and test: the layout of the adapter `folder`."""
    rng = np.random.default_rng(0)
    for index in range(count):
        folder = root / ("train", "train", "val", "test")[index % 4]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (side, 2 * side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"p{index:04d}-a.png")
        (folder / f"p{index:04d}-a.txt").write_text(f"report number {index}.", encoding="utf-8")
    return root


def content(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def prepare(root: Path, out: Path, overrides=None, overwrite=False, **arguments):
    preparation = Preparation(open_archive("folder", root, None, overrides), out, **arguments)
    with preparation.claimed(overwrite):
        return preparation.make(preparation.plan())


def command(root: Path, out: Path, *more: str):
    arguments = ["data", "prepare", "folder", "--root", str(root), "--out", str(out), "--workers", "0", *more]
    return CliRunner().invoke(main, arguments)


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "CHUNK", 5)
    return make_tree(tmp_path / "tree")


def test_a_tree_becomes_a_data_set(tree, tmp_path):
    out = tmp_path / "out"
    made = prepare(tree, out, storage=Storage(longest_side=16))
    assert (made.splits, made.failures) == ({"train": 6, "val": 3, "test": 3}, 0)
    dataset = FolderDataset(out)
    assert [dataset.size(split) for split in ("train", "val", "test")] == [6, 3, 3]
    with Image.open(dataset.pair("train", 0).image) as image:
        assert image.size == (16, 8)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["complete"]
    assert manifest["patients"] == 12
    assert sorted(path.name for path in out.iterdir()) == [
        ".lock",
        "images",
        "manifest.json",
        "pairs.jsonl",
        "prepare.json",
        "splits.json",
    ]


def test_rows_carry_the_hash_of_their_picture(tree, tmp_path):
    prepare(tree, tmp_path / "out")
    for line in (tmp_path / "out" / "pairs.jsonl").read_text().splitlines():
        row = json.loads(line)
        data = (tmp_path / "out" / row["image"]).read_bytes()
        assert row["image_sha256"] == hashlib.sha256(data).hexdigest()[:16]


def test_workers_make_the_same(tree, tmp_path):
    prepare(tree, tmp_path / "one" / "out")
    prepare(tree, tmp_path / "two" / "out", workers=2)
    assert content(tmp_path / "one" / "out") == content(tmp_path / "two" / "out")


def test_a_broken_picture_is_listed_and_the_rest_is_kept(tree, tmp_path):
    broken = tree / "train" / "p0001-a.png"
    broken.write_bytes(broken.read_bytes()[:60])
    made = prepare(tree, tmp_path / "out")
    assert (sum(made.splits.values()), made.failures) == (11, 1)
    [line] = (tmp_path / "out" / "failures.jsonl").read_text().splitlines()
    failure = json.loads(line)
    assert failure["stage"] == "picture"
    assert str(broken) in failure["reason"]


def test_a_patient_in_two_splits_stays_where_no_training_sees_it(tree, tmp_path):
    for name in ("p0003-b.png", "p0003-b.txt"):  # p0003 is in test
        shutil.copy(tree / "test" / name.replace("-b", "-a"), tree / "train" / name)
    made = prepare(tree, tmp_path / "out", {"patient_from": r"(p\d+)"})
    assert (made.splits["test"], made.splits["train"], made.failures) == (3, 6, 1)
    failure = json.loads((tmp_path / "out" / "failures.jsonl").read_text())
    assert failure["stage"] == "leakage"
    assert "patient 'p0003' is in 'train' and in 'test'" in failure["reason"]


def test_an_image_in_two_splits_stays_where_no_training_sees_it(tree, tmp_path):
    rows = [
        {"id": f"x{n}", "image": "a.png", "report": "clear.", "split": split, "patient": f"q{n}", "reason": "routine"}
        for n, split in enumerate(("train", "test", "test"))
    ]
    rows.append({**rows[0], "id": "other", "image": "b.png"})
    for name, source in (("a", "p0000-a"), ("b", "p0001-a")):
        shutil.copy(tree / "train" / f"{source}.png", tmp_path / f"{name}.png")
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = prepare(tmp_path / "pairs.jsonl", tmp_path / "out")
    assert (made.splits, made.failures) == ({"train": 1, "test": 2}, 1)
    failure = json.loads((tmp_path / "out" / "failures.jsonl").read_text())
    reason = "its image is in 'train' and in 'test'; only the pairs in 'test' are kept"
    assert failure == {"item": "x0", "reason": reason, "stage": "leakage"}
    assert FolderDataset(tmp_path / "out").pair("train", 0).id == "other"
    assert len(list((tmp_path / "out" / "images").rglob("*.png"))) == 3


def test_studies_are_numbered_within_patients(tree, tmp_path):
    prepare(tree, tmp_path / "one")
    listed = tmp_path / "one" / "pairs.jsonl"
    rows = [json.loads(line) | {"study": "study1"} for line in listed.read_text().splitlines()]
    listed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = prepare(tmp_path / "one", tmp_path / "two")
    assert (made.splits, made.failures) == ({"train": 6, "val": 3, "test": 3}, 0)
    assert json.loads((tmp_path / "two" / "manifest.json").read_text())["studies"] == 12


def test_another_configuration_is_refused_and_overwrite_starts_anew(tree, tmp_path):
    out = tmp_path / "out"
    prepare(tree, out)
    with pytest.raises(UserError, match="holds a preparation with storage"):
        prepare(tree, out, storage=Storage(longest_side=8))
    prepare(tree, out, storage=Storage(longest_side=8), overwrite=True)
    with Image.open(FolderDataset(out).pair("test", 0).image) as image:
        assert max(image.size) == 8


def test_files_of_others_are_not_touched(tree, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        prepare(tree, tmp_path / "out", overwrite=True)
    assert content(tmp_path / "out") == {"thesis.tex": b"mine"}


@pytest.mark.parametrize("root", ["out", "out/pairs.jsonl", "out/images", "link"])
def test_a_folder_is_never_prepared_into_itself(tree, tmp_path, root):
    out = tmp_path / "out"
    prepare(tree, out)
    (tmp_path / "link").symlink_to(out)
    before = content(out)
    for more in ([], ["--overwrite"]):
        result = command(tmp_path / root, out, *more, "--set", "split=drawn")
        assert result.exit_code == 2, result.output
        assert "lies in --out" in result.output
        assert "choose another --out" in result.output
        assert "give --overwrite" not in result.output
    assert content(out) == before


def test_nothing_that_an_option_names_is_written_over(tree, tmp_path):
    out = tmp_path / "out"
    prepare(tree, out)
    entries = [{"id": "a", "image": "00000/p.png", "conversations": [{"from": "gpt", "value": "clear."}]}]
    (tmp_path / "llava.json").write_text(json.dumps(entries))
    archive = open_archive("llava", tmp_path / "llava.json", None, {"images": str(out / "images"), "terms": "long " * 100})
    with pytest.raises(UserError, match=r"/images', which is read, lies in --out"), Preparation(archive, out).claimed(True):
        pass
    assert FolderDataset(out).size("train") == 6


def test_two_processes_do_not_prepare_one_folder(tree, tmp_path):
    out = tmp_path / "out"
    with held(out):
        result = command(tree, out)
    assert (result.exit_code, "being worked on by another process" in result.output) == (2, True)
    assert command(tree, out).exit_code == 0


def test_a_kill_while_merging_leaves_nothing_that_counts_as_finished(tree, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("medim.data.splits.save_splits", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            prepare(tree, out)
    assert (out / "pairs.jsonl").exists()
    result = command(tree, out)
    assert result.exit_code == 0, result.output
    assert "is prepared already" not in result.output
    prepare(tree, tmp_path / "whole" / "out")
    assert content(out) == content(tmp_path / "whole" / "out")


def test_a_kill_in_the_first_write_or_in_the_last_act_leaves_nothing(tree, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / ".prepare.0a1b2c3d.json").write_text("{")
    assert command(tree, out).exit_code == 0
    made = content(out)
    (out / ".work" / "made").mkdir(parents=True)
    assert "is prepared already" in command(tree, out).output
    assert content(out) == made
    assert not any(out.glob(".[!l]*"))


def test_a_disk_too_small_is_said_before_the_work(tree, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 0, 10))
    with pytest.raises(UserError, match=r"0\.0 GB free and about"):
        prepare(tree, tmp_path / "out")
    assert not (tmp_path / "out" / "images").exists()


def test_the_estimate_is_the_size_of_what_is_written(tree, tmp_path):
    preparation = Preparation(open_archive("folder", tree), tmp_path / "out")
    with preparation.claimed():
        plan = preparation.plan()
        preparation.make(plan)
    written = sum(path.stat().st_size for path in (tmp_path / "out" / "images").rglob("*.png"))
    assert plan.bytes_needed == pytest.approx(written, rel=0.1)


def test_continues_after_sigkill_to_the_same_result(tmp_path):
    tree = make_tree(tmp_path / "tree", count=1600, side=100)  # 7 chunks
    prepare(tree, tmp_path / "whole" / "out")
    out = tmp_path / "killed" / "out"
    command = [
        sys.executable,
        "-m",
        "benchmark.cli",
        "data",
        "prepare",
        "folder",
        "--root",
        str(tree),
        "--out",
        str(out),
        "--workers",
        "0",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list((out / ".work" / "made").glob("0*.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    made = list((out / ".work" / "made").glob("0*.jsonl"))
    assert 0 < len(made) < 7
    first = min((out / "images" / "00000").glob("*.png"))
    untouched = first.stat().st_mtime_ns
    (first.parent / f".{first.stem}.left.png").write_bytes(b"half")  # as a kill within a write leaves it
    subprocess.run(command, check=True, capture_output=True)
    assert first.stat().st_mtime_ns == untouched
    assert content(tmp_path / "whole" / "out") == content(out)


def test_the_command_ends_with_3_and_the_list_where_something_is_lost(tree, tmp_path):
    (tree / "val" / "p0002-a.txt").unlink()
    first = command(tree, tmp_path / "out")
    assert first.exit_code == 3, first.output
    assert "11 pairs in" in first.output
    again = command(tree, tmp_path / "out")
    assert (again.exit_code, "is prepared already" in again.output) == (3, True)


def test_a_dry_run_leaves_nothing(tree, tmp_path):
    (tree / "val" / "p0002-a.png").write_bytes(b"no picture")
    result = command(tree, tmp_path / "out", "--dry-run")
    assert result.exit_code == 0
    assert "12 pairs (6 train, 3 val, 3 test) of 12 studies, 12 patients" in result.output
    assert "pictures tried: 12; 1 cannot be read, the first: image" in result.output
    assert not (tmp_path / "out").exists()
    assert command(tree, tmp_path / "out", "--format", "jpeg").exit_code == 3  # the README's next command
    before = content(tmp_path / "out")
    assert command(tree, tmp_path / "out", "--dry-run", "--overwrite").exit_code == 0  # other options, nothing claimed
    assert content(tmp_path / "out") == before


def test_what_made_nothing_claims_nothing(tree, tmp_path):
    for picture in tree.glob("*/*.png"):
        picture.write_bytes(b"no picture")
    result = command(tree, tmp_path / "out")
    assert result.exit_code == 2
    lost = (tmp_path / "out" / "failures.jsonl").read_text().splitlines()
    assert len(lost) == 12
    first = json.loads(lost[0])
    assert f"could be read: 12 failures, the first: {first['item']}: {first['reason']}; all are in" in result.output
    again = command(tree, tmp_path / "out", "--format", "jpeg")  # other options: nothing was claimed
    assert "12 failures" in again.output
    for text in tree.glob("*/*.txt"):
        text.unlink()
    result = command(tree, tmp_path / "out", "--format", "png")
    assert "yields no pair (12 lost, the first: test/p0003-a.png: no 'p0003-a.txt' beside it" in result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".lock", "failures.jsonl"]
    assert len((tmp_path / "out" / "failures.jsonl").read_text().splitlines()) == 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mimic-cxrr"], "unknown archive 'mimic-cxrr'; did you mean 'mimic-cxr'?"),
        (["folder", "--set", "patientfrom=x"], "unknown option of folder 'patientfrom'; did you mean 'patient_from'?"),
        (["folder", "--preset", "paper"], "unknown preset of folder 'paper'"),
        (["folder", "--root", "nowhere"], "'nowhere' does not exist"),
    ],
)
def test_mistakes_are_told_in_one_line(tree, tmp_path, arguments, message):
    root = [] if "--root" in arguments else ["--root", str(tree)]
    result = CliRunner().invoke(main, ["data", "prepare", *arguments, *root, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert message in result.output


def test_an_empty_archive_says_why(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="yields no pair"):
        prepare(tmp_path / "empty", tmp_path / "out")


def test_the_same_command_sees_what_was_mended(tree, tmp_path):
    texts = list(tree.glob("*/*.txt"))
    kept = {text: text.read_text() for text in texts}
    for text in texts:
        text.unlink()
    assert "yields no pair" in command(tree, tmp_path / "out").output
    for text in texts[:6]:
        text.write_text(kept[text])
    assert command(tree, tmp_path / "out", "--dry-run").output.count("lost: 6") == 1
    for text in texts[6:]:
        text.write_text(kept[text])
    result = command(tree, tmp_path / "out")
    assert (result.exit_code, "12 pairs in" in result.output) == (0, True), result.output


def test_pictures_that_were_all_broken_can_be_mended(tree, tmp_path):
    whole = {picture: picture.read_bytes() for picture in tree.glob("*/*.png")}
    for picture in whole:
        picture.write_bytes(b"broken")
    assert "no picture of" in command(tree, tmp_path / "out").output
    for picture, data in whole.items():
        picture.write_bytes(data)
    result = command(tree, tmp_path / "out")
    assert (result.exit_code, "12 pairs in" in result.output) == (0, True), result.output


def test_grey_pictures_are_kept_grey_and_large_ones_shrink_without_stretching():
    grey = Image.new("RGB", (600, 300), (7, 7, 7))
    with Image.open(io.BytesIO(encode(grey, Storage()))) as kept:
        assert (kept.mode, kept.size) == ("L", (512, 256))
    with Image.open(io.BytesIO(encode(grey, Storage(longest_side=0, format="jpeg")))) as kept:
        assert kept.size == (600, 300)


def test_ids_that_are_no_file_names_get_one():
    assert image_name("../x", Storage()) != image_name("./x", Storage())
    assert "/" not in image_name("a/../../b", Storage())
    assert len(image_name("x" * 500, Storage())) < 140


def test_reports_that_were_read_in_another_encoding_are_told(tree, tmp_path):
    for text in list(tree.glob("train/*.txt"))[:2]:
        text.write_text("Größe normal".encode().decode("latin-1"), encoding="utf-8")  # and saved as UTF-8 then
    assert "reports with mojibake: 2 (kept; the file's encoding?)" in command(tree, tmp_path / "out").output
