"""The house: benchmark -> tasks -> medim, and leaderboard alone. Scoring packages stay out of the model's package."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FORBIDDEN = {
    "medim": {"tasks", "benchmark", "leaderboard"},
    "tasks": {"benchmark", "leaderboard"},
    "leaderboard": {"medim", "tasks", "benchmark"},
    "benchmark": set(),
}
SCORING = ("jinja2", "matplotlib", "pandas", "pycocoevalcap", "scipy", "seaborn", "torchmetrics")
OTHER_EXTRAS = ("datasets", "gguf", "imagehash", "openslide", "peft", "pydicom", "tensorboard")


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(path: Path, source: str) -> Iterator[tuple[int, str]]:
    """Line and top-level package of every import in a module, nested, relative and spelt-out ones too."""
    for node in ast.walk(ast.parse(source, str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom):
            own = path.relative_to(ROOT).parent.parts
            base = own[: len(own) - node.level + 1] if node.level else ()
            names = [node.module] if node.module else [alias.name for alias in node.names]
            for name in names:
                yield node.lineno, (*base, *name.split("."))[0]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if function in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value.split(".")[0]


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_go_one_way(package):
    assert files(package)
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in files(package)
        for line, name in imported(path, path.read_text(encoding="utf-8"))
        if name in FORBIDDEN[package]
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import tasks.metrics as m, os", ["tasks", "os"]),
        ("def f():\n    from benchmark.cli import main", ["benchmark"]),
        ("from . import pair", ["medim"]),
        ("from ..data import folder", ["medim"]),
        ("from ... import tasks", ["tasks"]),
        ("from ...tasks import x", ["tasks"]),
        ("importlib.import_module('leaderboard.record')", ["leaderboard"]),
        ("'import tasks'  # tasks", []),
    ],
)
def test_the_reading_of_imports(source, names):
    assert [name for _, name in imported(ROOT / "medim" / "data" / "x.py", source)] == names


def modules_of_medim() -> list[str]:
    parts = (path.relative_to(ROOT).with_suffix("").parts for path in files("medim"))
    return sorted(".".join(part for part in one if part != "__init__") for one in parts)


IMPORT_ALL = """
import importlib, sys
for package in {hidden!r}:
    sys.modules[package] = None  # as if it were not installed
for module in {modules!r}:
    try:
        importlib.import_module(module)
    except Exception as error:  # an adapter may say at once which extra it is part of
        if "medim-bench[archives]" not in str(error):
            sys.exit(f"{{module}}: {{error}}")
"""


def test_medim_imports_without_the_extras():
    """Every module of `medim`, in one process in which no package of an extra exists."""
    code = IMPORT_ALL.format(hidden=SCORING + OTHER_EXTRAS, modules=modules_of_medim())
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]


def test_a_hidden_package_is_noticed():
    code = IMPORT_ALL.format(hidden=("json",), modules=["medim.common.files"])
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "medim.common.files" in result.stderr


def test_medim_names_no_scoring_package_at_module_level():
    wrong = []
    for path in files("medim"):
        source = path.read_text(encoding="utf-8")
        top = {node.lineno for node in ast.parse(source).body}
        wrong += [f"{path.relative_to(ROOT)}:{n}" for n, name in imported(path, source) if name in SCORING and n in top]
    assert not wrong
