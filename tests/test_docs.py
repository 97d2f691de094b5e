"""README and docs: every command line parses (fast) and runs at a tiny size (slow); every link leads somewhere."""

import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from PIL import Image

from benchmark.cli import main
from medim.checkpoints import shipped
from medim.data.loading import load_dataset

# What other programs leave.
from tests.benchmark.test_prediction_forms import FORMS

# Fixtures: trees of the archives' layouts.
from tests.medim.data.archives.conftest import mimic_root, pathgen_root, pathgen_slides, write_slide  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("leaderboard/results/*/README.md")]
)
RUN = ("../README.md", "clusters.md", "data.md", "metrics.md", "plugins.md", "predictions.md", "sampling.md", "training.md")
LAUNCHERS = re.compile(r"^(torchrun .*?-m -- benchmark\.cli|accelerate launch .*? -m benchmark\.cli|sbatch \S+slurm\.sh) ")
SMALLER = (
    (r"--n \d+", "--n 2"),
    (r"--limit \d+", "--limit 4"),
    (r"--steps \d+", "--steps 2"),
    (r"--runs \d+", "--runs 100"),
    (r"--seeds 0,1,2", "--seeds 0"),
    (r"--eval-pairs \d+", "--eval-pairs 4"),
    (r"--sweep codes=\S+", "--sweep codes=16,64"),
    (r"--preset (smollm2|liquid-7b)\b", "--preset phantom-tiny"),
    (r"--tokenizer (weights/chameleon|runs/vqgan)", "--tokenizer phantom-tiny"),
    (r"backbone=weights/smollm2", "gating=identity"),
    (r"--device cuda:\d", "--device cpu"),
    (r"--preset quick", "--preset demo"),
    (r"((?:train tokenizer|ablate) .*)--data phantom\S*", r"\1--data ../shared/data/cxr"),
    (r"--data phantom(?=\s|$)", "--data phantom:train=1%"),
    (r"--data (phantom-v2:\S+)", r"--data \1,train=0.1%"),
    (r"--set-of \S+", "--arms causal-mask --no-generation"),
)
"""What stands in a page, and what takes its place in a run at a tiny size."""
MORE = {
    "run": "--limit 4",
    "score": "--limit 4",
    "train model": "--steps 2 --set eval_pairs=4",
    "train tokenizer": "--steps 2",
    "ablate": "--steps 2 --eval-pairs 4 --draws 1 --limit 2",
    "export": "--draws 0 --features pixels",
    "diagnose": "--limit 4",
    "data check": "--limit 8",
}
"""Options that a run at a tiny size gets where the line has none."""


ELSEWHERE = ("run augmentation", "metric-environment", "--checker")
"""Words of lines that are tested elsewhere: they take minutes, a package index, or the weights of a classifier."""


def commands(page: Path) -> Iterator[str]:
    """The command lines of a page's bash blocks, continued lines joined, comments off."""
    for block in re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line := re.sub(r"(^|\s)#.*", "", line).strip():
                yield " ".join(line.split())


def arguments(line: str) -> tuple[list[str], bool]:
    """Arguments for `medim-bench`, and whether a launcher starts it on a cluster.

    Raises:
        ValueError: it is another command.
    """
    if line.startswith("medim-bench "):
        return shlex.split(line)[1:], False
    if match := LAUNCHERS.match(line):
        verb = ["train", "model"] if match[1].startswith("sbatch") else []
        return [*verb, *shlex.split(line[match.end() :])], True
    raise ValueError(line)


def parsed(values: list[str]) -> str:
    """The verb of a command line whose arguments and options exist; click's own error where they do not."""
    command: click.Command = main
    context, names = click.Context(main), []
    while isinstance(command, click.Group):
        name, *values = values
        found = command.get_command(context, name)
        assert found is not None, name
        command, names = found, [*names, name]
    command.make_context(names[-1], list(values))
    return " ".join(names)


LINES = [pytest.param(line, id=f"{page.name}: {line[:60]}") for page in PAGES for line in commands(page)]


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("line", LINES)
def test_a_command_line_parses(line, tmp_path, monkeypatch):
    install_the_plugins(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    if line.startswith("make "):
        assert re.search(rf"^{line.split()[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return
    values, _ = arguments(re.sub(r"cuda:\d", "cpu", line))
    parsed(values)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)]+)\)", text) if "://" not in target]
    targets += re.findall(r"`((?:medim|tasks|benchmark|leaderboard|docs|tests)/[\w./-]+)`", text)
    missing = [name for name in targets if name and not (page.parent / name).exists() and not (ROOT / name).exists()]
    assert not missing


def install_the_plugins(site: Path) -> None:
    """The package of `docs/plugins.md`, with its entry points, where Python finds it."""
    text = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    (site / "greys").mkdir(parents=True)
    for name, code in re.findall(r"```python\n# greys/(\w+\.py)\n(.*?)```", text, re.DOTALL):
        (site / "greys" / name).write_text(code, encoding="utf-8")
    entries = re.sub(r'project\.entry-points\."([\w.]+)"', r"\1", re.findall(r"```toml\n(.*?)```", text, re.DOTALL)[0])
    (site / "greys-1.dist-info").mkdir()
    (site / "greys-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: greys\nVersion: 1\n")
    (site / "greys-1.dist-info" / "entry_points.txt").write_text(entries.replace('"', ""))


@pytest.fixture
def world(tmp_path, monkeypatch, mimic_root, pathgen_root):  # noqa: F811
    """What the pages take for granted: real pairs, archives, predictions, a trained model under the names that they use."""
    here = tmp_path / "here"
    pairs = tmp_path / "shared" / "data" / "cxr"
    phantom, lines = load_dataset("phantom"), []
    for split, count in (("train", 24), ("val", 8), ("test", 16)):
        for index in range(count):
            pair = phantom.pair(split, index)
            image = pair.image if isinstance(pair.image, Image.Image) else Image.open(pair.image)
            (pairs / "images").mkdir(parents=True, exist_ok=True)
            image.save(pairs / "images" / f"{split}{index}.png")
            lines.append(
                {
                    "id": f"{split}{index}",
                    "image": f"images/{split}{index}.png",
                    "report": pair.report,
                    "split": split,
                    "patient": pair.patient,
                    "terms": "CC0-1.0",
                }
            )
    (pairs / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (here / "data").mkdir(parents=True)
    for name in ("mimic", "pathgen"):
        shutil.copytree(pairs, here / "data" / name)
        table = (pairs / "pairs.jsonl").read_text(encoding="utf-8")
        table = table.replace('"id": "', f'"id": "{name}-').replace('"patient": "', f'"patient": "{name}-')
        (here / "data" / name / "pairs.jsonl").write_text(table, encoding="utf-8")
    (here / "my-outputs").mkdir()
    for line in lines[-16:]:
        (here / "my-outputs" / f"mimic-{line['id']}.txt").write_text(line["report"], encoding="utf-8")
    answers = [(f"mimic-{line['id']}", line["report"]) for line in lines[-16:]]
    for write, _ in FORMS.values():
        write(here, answers)
    (here / "my-images").mkdir()
    for line in lines[-16:]:
        shutil.copy(pairs / line["image"], here / "my-images" / f"mimic-{line['id']}.png")
    (here / "references").mkdir()
    reports = [{"id": id, "report": report, "split": "test"} for id, report in answers]
    (here / "references" / "reports.jsonl").write_text("".join(json.dumps(line) + "\n" for line in reports), encoding="utf-8")
    (here / "runs").mkdir()
    for name in ("liquid", "long-ar", "long-diffusion"):
        shutil.copytree(shipped()["phantom-tiny"], here / "runs" / name)
    install_the_plugins(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}:{os.environ.get('PYTHONPATH', '')}")
    (here / "pictures").mkdir()
    Image.new("RGB", (8, 8)).save(here / "pictures" / "a.png")
    (here / "physionet.org").symlink_to(mimic_root)
    (here / "pathgen").symlink_to(pathgen_root)
    (here / "leaderboard").symlink_to(ROOT / "leaderboard")
    monkeypatch.setenv("MEDIM_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(here)
    return here


def tiny(line: str) -> list[str] | None:
    """The arguments of a line at a tiny size; None of a make target and of what is tested elsewhere."""
    for pattern, replacement in SMALLER:
        line = re.sub(pattern, replacement, line)
    if line.startswith("make ") or any(words in line for words in ELSEWHERE):
        return None
    values, cluster = arguments(line)
    verb = " ".join(values[: 2 if values[0] in ("train", "data", "sample", "leaderboard", "speed") else 1])
    if (cluster and verb == "train model") or verb == "data prepare":
        return [*values, *([] if "--dry-run" in values else ["--dry-run"])]
    extra = shlex.split(MORE.get(verb, "")) if not {"augmentation", "grounding"} & set(values) else []
    for option, value in zip(extra[::2], extra[1::2], strict=True):
        if option not in values and "--dry-run" not in values and "--checkpoint" not in values:
            values += [option, value]
    return values


@pytest.mark.slow
@pytest.mark.parametrize("page", [ROOT / "docs" / name for name in RUN], ids=lambda page: page.name)
def test_the_commands_of_a_page_run_at_a_tiny_size(page, world):
    """In their order, in one folder; exit status 3 is a run with failures listed, which tiny archives have, a finding of
    `diagnose`, or a figure of `selftest` that so few runs leave beyond its bound."""
    for line in commands(page):
        values = tiny(line)
        if values is not None:
            if values[:2] == ["train", "model"] and "--dry-run" not in values:  # in place of what the fixture put there
                shutil.rmtree(values[values.index("--out") + 1], ignore_errors=True)
            result = CliRunner().invoke(main, values)
            allowed = (0, 3) if values[0] in ("diagnose", "selftest") or values[:2] == ["data", "prepare"] else (0,)
            assert result.exit_code in allowed, f"{' '.join(values)}: {result.output[-600:]} {result.exception!r}"


@pytest.mark.slow
def test_the_python_of_the_pages_runs(world):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "sampling.md").read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block.replace("limit=64", "limit=2"), "docs/sampling.md", "exec"), {})
    assert (world / "runs" / "mine" / "records.jsonl").is_file()
