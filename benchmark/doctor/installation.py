"""Whether the package `medim` is this project's: another project of that name installs into the same folder.
Only the standard library is used, and nothing of `medim` is imported: it may be the other one."""

import base64
import csv
import hashlib
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

PROJECT, PACKAGE = "medim-bench", "medim"
MARK = f'DISTRIBUTION = "{PROJECT}"'  # a line of our `medim/__init__.py`
MEND = f"run `pip uninstall {PACKAGE}`, then install {PROJECT} again with `pip install --force-reinstall --no-deps`"
_PACKAGES = ("benchmark", "leaderboard", "medim", "tasks")


def stranger() -> str | None:
    """Another project's distribution that is called as our package, with its version."""
    try:
        return f"{PACKAGE} {distribution(PACKAGE).version}"
    except PackageNotFoundError:
        return None


def displaced() -> str | None:
    """What stands in place of our package; None where it is ours."""
    spec = find_spec(PACKAGE)
    folder = None if spec is None or spec.origin is None else Path(spec.origin).resolve().parent
    beside = Path(__file__).resolve().parents[2] / PACKAGE
    if folder is None:
        return f"'{beside}' has no __init__.py"
    if folder != beside:
        return f"the package '{PACKAGE}' is that of '{folder}'"
    if MARK not in Path(spec.origin).read_text(encoding="utf-8", errors="replace"):  # type: ignore[union-attr, arg-type]
        return f"'{spec.origin}' is another project's"  # type: ignore[union-attr]
    return None


class Trouble(NamedTuple):
    """What is wrong with the package, in a few words; `fatal` where no command can run."""

    fatal: bool
    what: str


def trouble() -> Trouble | None:
    """None where the package is ours and no other project's is beside it; `MEND` says what to do."""
    other, what = stranger(), displaced()
    if what is not None:
        return Trouble(True, f"{what}, not {PROJECT}'s{f' ({other} from PyPI is installed)' if other else ''}")
    if other is not None:
        return Trouble(False, f"another project, {other}, is installed into the same folder as {PROJECT}")
    return None


def changed_files() -> list[str]:
    """Files of our four packages that are missing, changed or not ours; none for a checkout, whose files may change."""
    try:
        installed = distribution(PROJECT)
    except PackageNotFoundError:
        return []
    root = Path(str(installed.locate_file(""))).resolve()
    # A checkout's egg-info has no RECORD; it lists the files of the day on which it was written.
    record = installed.read_text("RECORD")
    if record is None or root != Path(__file__).resolve().parents[2]:
        return []
    # Not `installed.files`: from Python 3.12 on it leaves out what is missing.
    rows = [row for row in csv.reader(record.splitlines()) if row and row[0].split("/")[0] in _PACKAGES]
    if not rows:
        return []
    wrong = []
    for name, hash_, *_ in rows:
        if not (root / name).is_file():
            wrong.append(f"{name} is missing")
        elif hash_.startswith("sha256="):
            digest = base64.urlsafe_b64encode(hashlib.sha256((root / name).read_bytes()).digest()).rstrip(b"=").decode()
            if f"sha256={digest}" != hash_:
                wrong.append(f"{name} was changed")
    listed = {name for name, *_ in rows}
    found = {str(path.relative_to(root)) for package in _PACKAGES for path in (root / package).rglob("*.py")}
    return wrong + [f"{name} is not ours" for name in sorted(found - listed)]
