"""Where files of metrics are looked for, and that the documentation says the same as the tables that the code reads."""

from pathlib import Path

import pytest

from medim.common.errors import UserError
from tasks.metrics.isolated.environment import read_recipe, shipped
from tasks.metrics.weights import SOURCES, find_weights, variable, weights_folder

PAGE = Path(__file__).resolve().parents[3] / "docs" / "metrics.md"


def rows() -> dict[str, str]:
    """The lines of the table by each name in brackets."""
    lines = PAGE.read_text(encoding="utf-8").partition("## Metrics that read files of others")[2].splitlines()
    table = [line for line in lines if line.startswith("| ")][1:]
    return {name: line for line in table for name in [*SOURCES, *shipped()] if f"(`{name}`)" in line}


def test_the_page_has_every_metric_with_its_files():
    table = rows()
    assert set(table) == {*SOURCES, *shipped()}
    for name, source in SOURCES.items():
        assert not [file for file in source.files if f"`{file}`" not in table[name]]
        assert source.option in table[name]
        assert ("by a recipe of yours" in table[name]) == bool(source.recipe)
    for name, folder in shipped().items():
        assert not [file for file in read_recipe(folder).weights if f"`weights/{file.split('/')[0]}/" not in table[name]]


def test_the_variable_comes_before_the_shared_folder(monkeypatch, tmp_path):
    for name in ("MEDIM_BENCH_WEIGHTS", "MEDIM_RAD_DINO"):
        monkeypatch.delenv(name, raising=False)
    assert variable("rad-dino") == "MEDIM_RAD_DINO"
    assert weights_folder("rad-dino") is None
    monkeypatch.setenv("MEDIM_BENCH_WEIGHTS", str(tmp_path))
    assert weights_folder("rad-dino") is None
    (tmp_path / "rad-dino").mkdir()
    assert weights_folder("rad-dino") == tmp_path / "rad-dino"
    monkeypatch.setenv("MEDIM_RAD_DINO", str(tmp_path / "mine"))
    assert weights_folder("rad-dino") == tmp_path / "mine"
    with pytest.raises(UserError, match=r"folder '.*mine' holds no 'config\.json'; source: huggingface\.co/microsoft/rad-dino"):
        find_weights("rad-dino")


def test_an_unknown_name_has_its_nearest():
    with pytest.raises(UserError, match="did you mean 'chexbert'"):
        find_weights("chexbird")
