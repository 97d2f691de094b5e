"""Prints the lowest version that pyproject.toml allows of each package that it names, as constraints for pip."""

import re
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RANGE = re.compile(r"([A-Za-z0-9_-]+)[>=]=([0-9.]+)(,<[0-9.]+)?")

for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()):
    for requirement in group:
        match = RANGE.fullmatch(requirement)
        if match is None:
            raise SystemExit(f"pyproject.toml: '{requirement}' states no lowest version such as name>=1.0")
        print(f"{match[1]}=={match[2]}")
