"""The doctor on packages: what the project needs, what each extra adds, and what other feature spaces ask for."""

import tomllib
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from benchmark.doctor.finding import BROKEN, MISSING, READY, Check, Finding
from benchmark.doctor.installation import MEND, PROJECT, changed_files, trouble

PACKAGES = "Packages"
_ROOT = Path(__file__).resolve().parents[2]

OPTIONAL = {
    "timm": "feature spaces timm:NAME",
    "open-clip-torch": "feature spaces open-clip:NAME, such as BiomedCLIP",
    "torchxrayvision": "feature spaces torchxrayvision:WEIGHTS",
}
"""Packages of no extra, and what each is for."""


def requirements() -> dict[str, list[Requirement]]:
    """What the project needs ("") and what each extra adds: of the checkout's pyproject.toml, else as installed."""
    path = _ROOT / "pyproject.toml"
    if path.is_file():
        project = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {})
        if project.get("name") == PROJECT:
            groups = {"": project["dependencies"], **project.get("optional-dependencies", {})}
            return {name: [Requirement(line) for line in lines] for name, lines in groups.items()}
    installed = [Requirement(line) for line in requires(PROJECT) or []]
    extras = metadata(PROJECT).get_all("Provides-Extra") or []
    found = {"": [requirement for requirement in installed if requirement.marker is None]}
    for extra in extras:
        found[extra] = [each for each in installed if each.marker is not None and each.marker.evaluate({"extra": extra})]
    return found


def unmet(needed: Sequence[Requirement]) -> tuple[dict[str, str], list[str]]:
    """Versions of the packages that are here, and of those missing or of another version a line each."""
    here: dict[str, str] = {}
    lacking: list[str] = []
    for requirement in needed:
        try:
            here[requirement.name] = version(requirement.name)
        except PackageNotFoundError:
            lacking.append(f"{requirement.name} is not installed")
            continue
        if not requirement.specifier.contains(here[requirement.name], prereleases=True):
            lacking.append(f"{requirement.name} {here[requirement.name]} is not {requirement.specifier}")
    return here, lacking


def _extras() -> Iterator[Finding]:
    for extra, needed in requirements().items():
        here, lacking = unmet(needed)
        name = f"extra {extra}" if extra else "what everything needs"
        install = f"pip install '{PROJECT}[{extra}]'" if extra else f"pip install {PROJECT}"
        versions = ", ".join(f"{package} {number}" for package, number in here.items())
        if lacking:
            yield Finding(PACKAGES, name, MISSING if extra else BROKEN, "; ".join(lacking), install, {"versions": here})
        else:
            yield Finding(PACKAGES, name, READY, versions, details={"versions": here})


def _own() -> Iterator[Finding]:
    """That the modules of `medim` are ours: another project of that name installs into the same folder."""
    wrong, changed = trouble(), changed_files()
    if wrong is not None:
        yield Finding(PACKAGES, "package medim", BROKEN, wrong.what, MEND)
    if changed:
        said = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        yield Finding(PACKAGES, f"files of {PROJECT}", BROKEN, said, MEND, {"changed": changed})
    if wrong is None and not changed:
        yield Finding(PACKAGES, "package medim", READY, "this project's alone")


def _optional() -> Iterator[Finding]:
    for package, opens in OPTIONAL.items():
        try:
            yield Finding(PACKAGES, package, READY, f"{version(package)}; for {opens}")
        except PackageNotFoundError:
            yield Finding(PACKAGES, package, MISSING, f"for {opens}", f"pip install {package}")


CHECKS: list[Check] = [_own, _extras, _optional]
