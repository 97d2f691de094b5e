"""`medim-bench import`, and what a holder of the released checkpoint does with its result."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from benchmark.cli import main
from benchmark.systems import as_shown_to
from medim.data.archives.archive import open_archive
from medim.data.loading import load_dataset
from medim.pair import SPLITS
from medim.pipeline import MeDiMPipeline
from tasks.cases import cases_of
from tests.medim.data.archives.conftest import mimic_root, pathgen, write_slide  # noqa: F401
from tests.medim.released.layout import HEAD_DIM, write_all

PAGE = Path(__file__).resolve().parents[3] / "docs" / "released.md"


def bench(*arguments: str) -> str:
    result = CliRunner().invoke(main, list(arguments))
    allowed = (0, 3) if arguments[0] in ("data", "diagnose") else (0,)  # 3: tiny archives lack much, random weights fail
    assert result.exit_code in allowed, f"{' '.join(arguments)}: {result.output[-800:]} {result.exception!r}"
    return result.output


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """The folders that the page names, in the folder where its commands are given."""
    here = tmp_path / "here"
    checkpoint, *_ = write_all(here / "weights")
    (checkpoint / "config.json").write_text(json.dumps({"head_dim": HEAD_DIM}))
    monkeypatch.chdir(here)
    monkeypatch.setenv("MEDIM_BENCH_CACHE", str(tmp_path / "cache"))
    return here / "weights"


def imported() -> str:
    where = ("--tokenizer", "weights/llama-2", "--vqgan", "weights/chameleon", "--out", "runs/released")
    return bench("import", "released", "weights/medim_ckpts", *where)


def test_import_and_one_sample(weights):
    assert "2 blocks of width 32, 343 text ids, 40 image codes; an image is 64 tokens, a report 256" in imported()
    bench("sample", "pair", "--model", "runs/released", "--n", "1", "--out", "runs/pair", "--set", "sampling.released.steps=2")
    assert len(Path("runs/pair/samples.jsonl").read_text().splitlines()) == 1
    result = CliRunner().invoke(main, ["import", "released", "weights/llama-2", "--tokenizer", "weights/llama-2", "--vqgan",
                                       "weights/chameleon", "--out", "runs/other"])  # fmt: skip
    assert result.exit_code == 2
    assert "weights/llama-2' holds no weights" in result.output


def write_pathgen(pathgen, write_slide) -> None:  # noqa: F811
    """Slides of two patients whom the paper's preset puts into each split, four tiles each."""
    slide = write_slide(Path("slide.svs"))
    pathgen.write_captions(Path("pathgen"), [pathgen.entry("TCGA-AA-0000-01Z-00-DX1.X", 0, 0)])
    (Path("pathgen") / "slides").mkdir()
    options, entries, counts = open_archive("pathgen", Path("pathgen"), "paper").options, [], dict.fromkeys(SPLITS, 0)
    for number in range(2000):
        name = f"TCGA-AA-{number:04d}"
        split = options.drawn_split(name)
        if counts[split] < 2:
            counts[split] += 1
            wsi = f"{name}-01Z-00-DX1.{pathgen.uuid}"
            (Path("pathgen") / "slides" / f"{wsi}.svs").symlink_to(slide.resolve())
            entries += [pathgen.entry(wsi, x, y) for x in (0, 672) for y in (0, 672)]
    pathgen.write_captions(Path("pathgen"), entries)


@pytest.mark.slow
def test_the_page_as_written(weights, mimic_root, pathgen, write_slide):  # noqa: F811
    from tests.test_docs import arguments, commands

    Path("physionet.org").symlink_to(mimic_root)
    write_pathgen(pathgen, write_slide)
    printed = {line: bench(*arguments(line)[0]) for line in commands(PAGE)}
    assert len(printed) == 7
    records = [json.loads(line) for path in Path("runs/released-paper").rglob("records.jsonl") for line in path.open()]
    measured = {(record["dataset"], record["task"]) for record in records if record["kind"] == "measured"}
    tasks = {"image-generation", "report-generation", "joint-generation"}
    assert measured == {(name, task) for name in ("mimic", "pathgen") for task in tasks}
    assert Path("runs/released-board/index.html").is_file()


@pytest.mark.slow
def test_all_tasks_and_export(weights):
    imported()
    steps = ("--set", "sampling.released.steps=4")
    bench("run", "all", "--model", "runs/released", "--data", "phantom:train=1%", "--limit", "4", "--out", "runs/all", *steps)
    records = [json.loads(line) for line in Path("runs/all/records.jsonl").read_text().splitlines()]
    done = {record["task"] for record in records if record["kind"] == "measured"}
    assert done >= {"image-generation", "report-generation", "joint-generation", "likelihood", "memorisation", "inpainting"}
    export = ("--n", "2", "--data", "phantom:train=1%", "--format", "llava", "--features", "pixels", "--draws", "0")
    bench("export", "--model", "runs/released", *export, "--out", "runs/export", "--allow", "credentialed", *steps)
    assert list(Path("runs/export").rglob("*.json*"))
    bench("diagnose", "runs/released", "--data", "phantom:train=1%", "--limit", "4")


def test_its_geometry_reaches_the_cases(weights):
    imported()
    pipeline = MeDiMPipeline.from_pretrained("runs/released", "cpu")
    phantom = load_dataset("phantom")
    assert as_shown_to(pipeline, phantom) is phantom  # its pictures are drawn as squares
    Path("pairs").mkdir()
    Image.new("RGB", (64, 32), (250, 250, 250)).save("pairs/a.png")
    pair = {"id": "a", "image": "a.png", "report": "Normal.", "split": "test", "patient": "p"}
    Path("pairs/pairs.jsonl").write_text(json.dumps(pair) + "\n")
    folder = load_dataset("pairs")
    shown = as_shown_to(pipeline, folder)
    assert shown.fingerprint != folder.fingerprint
    ours, theirs = (cases_of(dataset, "test", 32)[0].image.getpixel((0, 0)) for dataset in (folder, shown))
    assert (ours, theirs) == ((0, 0, 0), (122, 116, 104))
    assert as_shown_to(MeDiMPipeline.from_pretrained("phantom-tiny", "cpu"), folder) is folder
