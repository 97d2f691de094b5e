"""Another project's package `medim` beside ours, over ours, or in place of ours: noticed before anything of it runs."""

import base64
import hashlib
import os
import subprocess
import sys
from importlib.machinery import ModuleSpec
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

import medim
from benchmark.doctor import installation
from benchmark.doctor import packages as doctor_packages
from benchmark.doctor.report import BROKEN, READY

ROOT = Path(installation.__file__).parents[2]


def command(first: Path, *arguments: str) -> subprocess.CompletedProcess:
    """`medim-bench` where a folder comes before ours on the path."""
    path = os.pathsep.join([str(first), str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "benchmark.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=first,
        env={**os.environ, "PYTHONPATH": path},
    )


def strange(folder: Path) -> Path:
    (folder / "medim").mkdir(parents=True)
    (folder / "medim" / "__init__.py").write_text("raise SystemExit('the other one ran')\n")
    return folder


def registered(folder: Path) -> Path:
    (folder / "medim-0.1.2.dist-info").mkdir(parents=True)
    (folder / "medim-0.1.2.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: medim\nVersion: 0.1.2\n")
    return folder


def test_our_package_bears_its_mark():
    assert medim.DISTRIBUTION == installation.PROJECT
    assert installation.MARK in Path(medim.__file__).read_text()
    assert installation.displaced() is None


def test_another_package_in_place_of_ours_stops_every_command(tmp_path):
    done = command(registered(strange(tmp_path)), "--version")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: the package 'medim' is that of '{tmp_path.resolve() / 'medim'}', not medim-bench's")
    assert "(medim 0.1.2 from PyPI is installed): run `pip uninstall medim`, then install medim-bench again" in done.stderr


def test_another_distribution_beside_ours_is_told_and_the_command_goes_on(tmp_path):
    done = command(registered(tmp_path), "--version")
    assert done.returncode == 0
    assert done.stdout.startswith("medim-bench, version ")
    assert done.stderr.startswith(
        "warning: another project, medim 0.1.2, is installed into the same folder as medim-bench: run"
    )
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "what"),
    [("__version__ = '0.1.2'\n", "is another project's$"), (None, "has no __init__.py$"), (installation.MARK + "\n", None)],
)
def test_a_package_that_was_overwritten_or_taken_apart(tmp_path, monkeypatch, content, what):
    origin = tmp_path / "medim" / "__init__.py"
    origin.parent.mkdir()
    if content is not None:
        origin.write_text(content)
    monkeypatch.setattr(installation, "__file__", str(tmp_path / "benchmark" / "doctor" / "installation.py"))
    spec = ModuleSpec("medim", None, origin=None if content is None else str(origin))
    monkeypatch.setattr(installation, "find_spec", lambda name: spec)
    trouble = installation.trouble()
    if what is None:
        assert trouble is None
    else:
        assert trouble.fatal
        with pytest.raises(AssertionError, match=what.replace("$", ", not medim-bench's$")):
            raise AssertionError(trouble.what)


def test_the_doctor_names_files_that_are_not_as_they_were_installed(tmp_path, monkeypatch):
    lines = []
    for name in ("medim/__init__.py", "medim/pair.py", "benchmark/cli.py", "tasks/task.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
        digest = base64.urlsafe_b64encode(hashlib.sha256(name.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(name)}\n")
    info = tmp_path / "medim_bench-0.1.0.dist-info"
    info.mkdir()
    (info / "RECORD").write_text("".join(lines))
    monkeypatch.setattr(installation, "distribution", lambda name: PathDistribution(info))
    monkeypatch.setattr(installation, "__file__", str(tmp_path / "benchmark" / "doctor" / "installation.py"))
    assert installation.changed_files() == []
    (tmp_path / "medim" / "__init__.py").write_text("another")
    (tmp_path / "medim" / "models").mkdir()
    (tmp_path / "medim" / "models" / "stu_net.py").write_text("")
    (tmp_path / "tasks" / "task.py").unlink()
    wrong = ["medim/__init__.py was changed", "tasks/task.py is missing", "medim/models/stu_net.py is not ours"]
    assert installation.changed_files() == wrong
    monkeypatch.setattr(doctor_packages, "trouble", lambda: None)
    (found,) = doctor_packages._own()
    assert (found.state, found.found, found.provide) == (BROKEN, ", ".join(wrong), installation.MEND)


@pytest.mark.parametrize("checkout", ["with an egg-info of another day", "before an installed wheel on the path"])
def test_files_of_a_checkout_may_change(tmp_path, monkeypatch, checkout):
    beside = "egg-info" in checkout
    root = tmp_path if beside else tmp_path / "site-packages"
    info = root / ("medim_bench.egg-info" if beside else "medim_bench-0.1.0.dist-info")
    info.mkdir(parents=True)
    (info / ("SOURCES.txt" if beside else "RECORD")).write_text("medim/gone.py\n" if beside else "medim/gone.py,sha256=0,1\n")
    (root / "medim").mkdir()
    (root / "medim" / "new.py").write_text("")
    monkeypatch.setattr(installation, "distribution", lambda name: PathDistribution(info))
    monkeypatch.setattr(installation, "__file__", str(tmp_path / "benchmark" / "doctor" / "installation.py"))
    assert installation.changed_files() == []


def test_the_doctor_tells_of_another_distribution(monkeypatch):
    monkeypatch.setattr(doctor_packages, "changed_files", list)
    monkeypatch.setattr(doctor_packages, "trouble", lambda: None)
    assert [finding.state for finding in doctor_packages._own()] == [READY]
    monkeypatch.setattr(doctor_packages, "trouble", lambda: installation.Trouble(False, "another project, medim 0.1.2"))
    assert [(finding.state, finding.provide) for finding in doctor_packages._own()] == [(BROKEN, installation.MEND)]
