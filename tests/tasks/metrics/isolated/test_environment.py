"""A real environment, of the standard library alone, and recipes that are not as they should be."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from medim.common.errors import UserError
from tasks.metrics.isolated import environment as isolated
from tasks.metrics.isolated.environment import Environment, environments, make, read_recipe, shipped
from tasks.metrics.isolated.process import evaluate

RECIPE = """
title: Word overlap
version: "1"
values: {Jaccard: {better: higher, missing: 0}}
"""
SCRIPT = """
from medim_metric import read, write

def jaccard(a, b):
    a, b = set(a.split()), set(b.split())
    return len(a & b) / len(a | b)

rows, predictions, references = read()
write(rows, Jaccard=map(jaccard, predictions, references))
"""


@pytest.fixture
def recipe(tmp_path):
    folder = tmp_path / "overlap"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "metric.py").write_text(SCRIPT)
    return folder


def test_it_has_a_python_that_shares_no_package_with_ours(recipe, tmp_path):
    made = make(str(recipe), tmp_path / "made")
    said = subprocess.run([made.python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == str(tmp_path / "made" / "venv")
    assert subprocess.run([made.python, "-c", "import numpy"], capture_output=True, check=False).returncode
    assert json.loads((tmp_path / "made" / "environment.json").read_text())["name"] == "overlap"
    assert Environment.opened("overlap", tmp_path / "made").signature == made.signature


def test_the_signature_follows_script_packages_and_weights(recipe, tmp_path):
    out = tmp_path / "made"
    seen, states = [make(str(recipe), out).signature], [isolated.state(out)]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "model.bin").write_bytes(b"one")
    (out / "weights" / "linked").symlink_to(tmp_path / "elsewhere")
    seen, states = [*seen, Environment.opened("o", out).signature], [*states, isolated.state(out)]
    next((out / "venv" / "lib").glob("python*/site-packages")).joinpath("thing-1.0.dist-info").mkdir()
    seen, states = [*seen, Environment.opened("o", out).signature], [*states, isolated.state(out)]
    (out / "metric.py").write_text(SCRIPT + "\n# other\n")
    seen, states = [*seen, Environment.opened("o", out).signature], [*states, isolated.state(out)]
    assert [len({str(one[key]) for one in seen}) for key in ("recipe", "packages", "weights", "python")] == [2, 2, 2, 1]
    assert len(set(states)) == 4


def test_made_anew_it_keeps_the_weights_and_nothing_else_is_overwritten(recipe, tmp_path):
    out = tmp_path / "made"
    make(str(recipe), out)
    (out / "weights" / "model.bin").write_bytes(b"one")
    with pytest.raises(UserError, match="--overwrite"):
        make(str(recipe), out)
    (out / "environment.json").unlink()  # a command that was ended
    with pytest.raises(UserError, match="no whole metric environment: medim-bench metric-environment make overlap --out"):
        Environment.opened("overlap", out)
    make(str(recipe), out)
    make(str(recipe), out, overwrite=True)
    assert (out / "weights" / "model.bin").read_bytes() == b"one"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="holds something else"):
        make(str(recipe), tmp_path / "other")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("valeus: {}", "unknown field 'valeus'; did you mean 'values'"),
        ("python: three", "field 'python': no range of versions"),
        ("script: other.py", "field 'script': no file"),
        ("tasks: [report]", "field 'tasks.0'"),
    ],
)
def test_a_recipe_with_a_mistake_names_its_field(recipe, change, message):
    (recipe / "recipe.yaml").write_text(RECIPE + change + "\n")
    with pytest.raises(UserError, match=message):
        read_recipe(recipe)


def test_a_recipe_gives_something(recipe):
    (recipe / "recipe.yaml").write_text('title: t\nversion: "1"\n')
    with pytest.raises(UserError, match="neither 'values' nor 'corpus'"):
        read_recipe(recipe)


def test_what_cannot_be_made_says_why(recipe, tmp_path):
    with pytest.raises(UserError, match="unknown recipe 'radgraf'; did you mean 'radgraph'"):
        make("radgraf", tmp_path / "a")
    (recipe / "recipe.yaml").write_text(RECIPE + 'python: "<3"\n')
    with pytest.raises(UserError, match=r"needs Python <3, and .* name one by --python"):
        make(str(recipe), tmp_path / "b")
    with pytest.raises(UserError, match="'/no/python' cannot be run"):
        make(str(recipe), tmp_path / "c", python="/no/python")


@pytest.mark.slow
def test_a_package_that_cannot_be_installed_leaves_no_whole_environment(recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (recipe / "recipe.yaml").write_text(RECIPE + "requirements: [no-such-package-of-ours]\n")
    with pytest.raises(UserError, match=r"pip failed: ERROR: No matching distribution found for no-such-package-of-ours"):
        make(str(recipe), tmp_path / "made", python=sys.executable)
    assert not (tmp_path / "made" / "environment.json").exists()


def test_environments_are_found_by_variable_and_by_folder(recipe, tmp_path, monkeypatch):
    for name in shipped():
        monkeypatch.delenv(f"MEDIM_{name.upper()}", raising=False)
    monkeypatch.delenv("MEDIM_BENCH_WEIGHTS", raising=False)
    assert environments() == dict.fromkeys(shipped())
    make(str(recipe), tmp_path / "weights" / "overlap")
    monkeypatch.setenv("MEDIM_BENCH_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("MEDIM_GREEN", str(tmp_path / "green"))
    assert environments() == dict.fromkeys(shipped()) | {
        "overlap": tmp_path / "weights" / "overlap",
        "green": tmp_path / "green",
    }


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_recipe_reads_and_says_where_its_weights_are_had(name):
    recipe = read_recipe(shipped()[name])
    assert recipe.weights
    assert "huggingface.co/" in recipe.source
    assert recipe.licence
    assert f"metric-environment make {name} --out DIR" in str(isolated.missing(name))
    assert f"MEDIM_{name.upper()}" in str(isolated.missing(name))


def test_the_recipe_of_the_page_runs(tmp_path):
    """That of docs/metrics.md, without its package."""
    page = (Path(__file__).resolve().parents[4] / "docs" / "metrics.md").read_text(encoding="utf-8")
    recipe = re.search(r"```yaml\n(title:.*?)```", page, re.DOTALL)
    script = re.search(r"```python\n(# metric\.py.*?)```", page, re.DOTALL)
    assert recipe is not None
    assert script is not None
    folder = tmp_path / "overlap"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(re.sub(r"requirements: \[.*?\]", "requirements: []", recipe[1]))
    (folder / "metric.py").write_text(script[1])
    made = make(str(folder), tmp_path / "made")
    (tmp_path / "made" / "weights" / "words.txt").write_text("left effusion")
    rows = [{"id": "a", "prediction": "left lung", "references": ["left effusion"]}]
    assert evaluate(made, rows).cases["overlap"].tolist() == [0.5]
