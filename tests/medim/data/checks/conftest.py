"""A small real folder whose mistakes are known one by one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from medim.data.checks.check import check_dataset
from medim.data.checks.report import Report
from medim.data.phantom.worlds import default_world
from medim.data.sources.folder import FolderDataset

REPORT = "the lungs are clear and the heart is of normal size without effusion or pneumothorax on either side seen today"


@pytest.fixture(scope="session")
def row() -> Callable[..., dict[str, Any]]:
    """Makes a sound line; fields replace or add."""

    def make(name: str, split: str, **fields: Any) -> dict[str, Any]:
        defaults = {"id": name, "image": f"{name}.png", "report": f"{REPORT} {name}", "split": split, "patient": f"p-{name}"}
        return {**defaults, "study": f"s-{name}", "domain": "chest-xray", "findings": [], "terms": "CC0-1.0", **fields}

    return make


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Pictures of different cases, 96 pixels."""
    return [default_world(96).pair("train", index).image for index in range(0, 16)]


@pytest.fixture
def folder(tmp_path: Path, pictures: list[Image.Image]) -> Callable[..., Path]:
    """Writes lines; each line's picture is the next one, or what `images` has under its file name."""

    def write(*rows: dict[str, Any], images: dict[str, Image.Image] | None = None) -> Path:
        for number, line in enumerate(rows):
            path = tmp_path / line["image"]
            if not path.exists():
                (images or {}).get(line["image"], pictures[number % len(pictures)]).save(path)
        (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in rows), encoding="utf-8")
        return tmp_path

    return write


@pytest.fixture
def checked(folder: Callable[..., Path]) -> Callable[..., Report]:
    """Writes lines and checks the folder in this process."""
    return lambda *rows, **images: check_dataset(FolderDataset(folder(*rows, **images), allow_leakage=True))
