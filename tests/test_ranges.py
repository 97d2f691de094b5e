"""The ranges of pyproject.toml, the pins of constraints.txt and what the Makefile installs agree."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def canonical(name: str) -> str:
    return name.lower().replace("_", "-")


def requirements() -> dict[str, Requirement]:
    lines = [*PROJECT["dependencies"], *(line for lines in EXTRAS.values() for line in lines)]
    return {canonical(requirement.name): requirement for requirement in map(Requirement, lines)}


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {canonical(line.split("==")[0]): Version(line.split("==")[1]) for line in lines if not line.startswith("#")}


def test_every_pin_lies_in_its_range():
    pinned = pins()
    assert not [str(one) for name, one in requirements().items() if name not in pinned or pinned[name] not in one.specifier]


def test_the_oldest_versions_are_the_lower_bounds():
    done = subprocess.run([sys.executable, ROOT / ".ci" / "minima.py"], capture_output=True, text=True, check=True)
    oldest = dict(line.split("==") for line in done.stdout.splitlines())
    wanted = requirements()
    assert {canonical(name) for name in oldest} == wanted.keys()
    assert not [name for name, version in oldest.items() if Version(version) not in wanted[canonical(name)].specifier]


def test_torch_is_allowed_from_the_release_that_is_pinned():
    assert str(requirements()["torch"].specifier) == f">={'.'.join(map(str, pins()['torch'].release[:2]))}"


def test_the_makefile_installs_all_extras():
    (extras,) = re.findall(r"^EXTRAS \?= (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(extras.split(",")) == sorted(EXTRAS)
