"""The wheel: every file that the packages have, and commands that run from it in another folder."""

import json
import os
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("benchmark", "leaderboard", "medim", "tasks")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of the files that git knows, unpacked: a folder to put on the path."""
    if Version(version("setuptools")) < Version("77"):
        pytest.skip("setuptools 77 or newer builds the wheel")
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    subprocess.run(["git", "checkout-index", "--all", f"--prefix={source}/"], cwd=ROOT, check=True)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(folder), "."]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    zipfile.ZipFile(built).extractall(folder / "site")
    return folder / "site"


def test_it_holds_every_file_of_the_packages(wheel):
    done = subprocess.run(["git", "ls-files", "-z", *PACKAGES], cwd=ROOT, check=True, capture_output=True, text=True)
    known = done.stdout.split("\0")[:-1]
    assert len(known) > 500
    assert not [name for name in known if not (wheel / name).is_file()]


def test_commands_run_from_it_in_another_folder(wheel, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(wheel)}

    def command(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "benchmark.cli", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = subprocess.run(
        [sys.executable, "-c", "import medim; print(medim.__file__)"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(where.stdout.strip()) == wheel / "medim" / "__init__.py"
    assert "0 broken" in command("doctor")
    command("sample", "pair", "--model", "phantom-tiny", "--n", "1", "--out", "pairs")
    assert (tmp_path / "pairs" / "contact_sheet.png").is_file()
    command("run", "report-generation", "--model", "phantom-tiny", "--data", "phantom", "--limit", "2", "--out", "run")
    (tmp_path / "set").mkdir()
    Image.new("L", (64, 64), 90).save(tmp_path / "set" / "a.png")
    pair = {"id": "a", "image": "a.png", "report": "no effusion.", "split": "train"}
    (tmp_path / "set" / "pairs.jsonl").write_text(json.dumps(pair) + "\n")
    command("export", "--pairs", "set", "--format", "folder", "--allow", "unscreened", "--out", "export")
    assert (tmp_path / "export" / "pairs.jsonl").is_file()
    command("leaderboard", "build", "run", "--out", "board")
    assert (tmp_path / "board" / "index.html").is_file()
    assert "phantom-tiny" in command("leaderboard", "show", "board")
