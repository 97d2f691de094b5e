"""The house: benchmark -> tasks -> medim, benchmark -> leaderboard, and all -> medim.common, which is light.

Scoring packages stay out of the model's package.
"""

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FORBIDDEN = {
    "medim": ("tasks", "benchmark", "leaderboard"),
    "medim/common": ("medim", "tasks", "benchmark", "leaderboard"),
    "tasks": ("benchmark", "leaderboard"),
    "leaderboard": ("medim", "tasks", "benchmark"),
    "benchmark": (),
}
GROUND = ("medim.common",)
"""What every package may import."""
SCORING = ("jinja2", "matplotlib", "nltk", "pandas", "pycocoevalcap", "scipy", "seaborn", "torchmetrics")
OTHER_EXTRAS = ("datasets", "gguf", "imagehash", "openslide", "peft", "pydicom", "tensorboard")


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(path: Path, source: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import in a module, nested, relative and spelt-out ones too."""
    for node in ast.walk(ast.parse(source, str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            own = path.relative_to(ROOT).parent.parts
            base = own[: len(own) - node.level + 1] if node.level else ()
            for alias in node.names:
                yield node.lineno, ".".join((*base, *filter(None, [node.module]), alias.name))
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if function in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value


def is_in(name: str, packages: Iterable[str]) -> bool:
    """Whether a dotted name is one of the packages or lies in one."""
    return any(f"{name}.".startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_go_one_way(package):
    assert files(package)
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in files(package)
        for line, name in imported(path, path.read_text(encoding="utf-8"))
        if is_in(name, FORBIDDEN[package]) and not is_in(name, GROUND)
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import tasks.metrics as m, os", ["tasks.metrics", "os"]),
        ("def f():\n    from benchmark.cli import main", ["benchmark.cli.main"]),
        ("from . import pair", ["medim.data.pair"]),
        ("from ..data import folder", ["medim.data.folder"]),
        ("from ... import tasks", ["tasks"]),
        ("from ...tasks import x", ["tasks.x"]),
        ("importlib.import_module('leaderboard.record')", ["leaderboard.record"]),
        ("'import tasks'  # tasks", []),
    ],
)
def test_the_reading_of_imports(source, names):
    assert [name for _, name in imported(ROOT / "medim" / "data" / "x.py", source)] == names


def module_of(path: Path) -> str:
    return ".".join(part for part in path.relative_to(ROOT).with_suffix("").parts if part != "__init__")


def modules_of(package: str) -> list[str]:
    return sorted(map(module_of, files(package)))


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    """The modules of ours that each module of ours imports, inside functions too."""
    paths = {module_of(path): path for package in FORBIDDEN for path in files(package)}
    result = {}
    for module, path in paths.items():
        names = [name for _, name in imported(path, path.read_text(encoding="utf-8"))]
        targets = {name if name in paths else name.rpartition(".")[0] for name in names}
        result[module] = (targets & paths.keys()) - {module}
    return result


def rooms(graph: dict[str, set[str]], depth: int) -> dict[str, set[str]]:
    """Arrows between modules and folders side by side, `depth` names deep; what lies deeper stands for its folder."""
    result: dict[str, set[str]] = {}
    for module, targets in graph.items():
        room = module.split(".")[:depth]
        others = {tuple(target.split(".")[:depth]) for target in targets}
        beside = {".".join(other) for other in others if list(other[:-1]) == room[:-1] and len(other) == len(room) == depth}
        result.setdefault(".".join(room), set()).update(beside - {".".join(room)})
    return result


def circle(graph: dict[str, set[str]]) -> list[str]:
    """A circle of imports; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other(graph):
    assert circle(graph) == []


@pytest.mark.parametrize("depth", range(1, 7))
def test_no_folders_import_each_other(graph, depth):
    assert circle(rooms(graph, depth)) == []


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) != []
    folders = {"p.a.one": {"p.b"}, "p.b": {"p.a.two"}, "p.a.two": set(), "p.c": {"p.a.one", "q.x"}, "q.x": set()}
    assert circle(folders) == []
    assert set(circle(rooms(folders, 2))) == {"p.a", "p.b"}
    assert circle(rooms(folders, 1)) == circle(rooms(folders, 3)) == []


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
    code = IMPORT_ALL.format(hidden=SCORING + OTHER_EXTRAS, modules=modules_of("medim"))
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]


def test_the_ground_floor_loads_neither_torch_nor_what_scores():
    """All of `medim.common`, and with it `medim` itself: what the leaderboard and every error message wait for."""
    code = f"import {', '.join(modules_of('medim/common'))}, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    heavy = {"torch", "transformers", "huggingface_hub", "tokenizers", "safetensors", "PIL", *SCORING}
    assert heavy & set(loaded) == set()
    ours = [name for name in loaded if is_in(name, FORBIDDEN)]
    assert [name for name in ours if not is_in(name, GROUND) and name != "medim"] == []


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
        wrong += [f"{path.relative_to(ROOT)}:{n}" for n, name in imported(path, source) if is_in(name, SCORING) and n in top]
    assert not wrong


REASON = "# lazy: "
"""Ends the line of an import inside a function, and says why it is there: `start-up`, or an extra."""


def unexplained(source: str) -> list[int]:
    """Lines of imports of our modules inside functions that give no reason."""
    lines = source.splitlines()
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    found = set()
    for node in (node for function in functions for node in ast.walk(function)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            statement = "".join(lines[node.lineno - 1 : node.end_lineno])
            if any(is_in(name, FORBIDDEN) for name in names) and REASON not in statement:
                found.add(node.lineno)
    return sorted(found)


def test_an_import_of_ours_inside_a_function_says_why():
    """In `benchmark/commands` it is the rule: a command imports what it needs when it runs."""
    paths = (path for package in FORBIDDEN for path in files(package))
    checked = (path for path in paths if not path.is_relative_to(ROOT / "benchmark" / "commands"))
    wrong = {path.relative_to(ROOT).as_posix(): unexplained(path.read_text(encoding="utf-8")) for path in checked}
    assert {path: lines for path, lines in wrong.items() if lines} == {}


def test_an_unexplained_import_is_found():
    source = "import tasks\ndef f():\n    import torch, medim.pair\n    from medim import pair  # lazy: start-up\n"
    assert unexplained(source) == [3]
