"""Whether Java is there, and the two jars that pycocoevalcap carries."""

import shutil
import subprocess
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from medim.common.errors import UserError


class ScorerError(UserError):
    """A scorer outside Python failed; the message holds what it said."""


@lru_cache(maxsize=1)
def java_problem() -> str | None:
    """Why Java cannot be used; None where it can."""
    command = shutil.which("java")
    if command is None:
        return "no `java` on the PATH; install a Java runtime, version 8 or later"
    probe = subprocess.run([command, "-version"], capture_output=True, text=True, check=False)
    if probe.returncode:
        return f"`java -version` fails: {complaint(probe.stderr)}"
    return None


def jar(relative: str) -> Path:
    """Path of a jar inside the installed pycocoevalcap. Raises ScorerError: the package or the jar is missing."""
    spec = find_spec("pycocoevalcap")
    if spec is None or not spec.submodule_search_locations:
        raise ScorerError("captioning metrics need pycocoevalcap: pip install 'medim-bench[scoring]'")
    path = Path(next(iter(spec.submodule_search_locations))) / relative
    if not path.is_file():
        raise ScorerError(f"pycocoevalcap lacks '{relative}'; reinstall it")
    return path


def complaint(text: str) -> str:
    """Of what a Java program wrote to its error stream, the line that says what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if "Exception" in line or "Error" in line), lines[-1] if lines else "no message")
