"""One run of a metric in its environment: rows in, finite numbers out, or one line that says why not."""

import json
import math
import os
import signal
import subprocess
import tempfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medim.common.errors import ForeignError, UserError, plain
from medim.common.json_lines import numbered_lines, parse_json
from medim.common.offline import VARIABLES
from tasks.metrics.isolated.environment import Environment

_LONGEST = 200
_PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
_NOWHERE = "http://127.0.0.1:9"  # the discard port: what is fetched by other ways than the hub's fails, too


@dataclass(frozen=True)
class Values:
    """What a metric gave. `cases`: one number for each row, by name. `corpus`: numbers of all rows together."""

    cases: Mapping[str, np.ndarray]
    corpus: Mapping[str, float]


def evaluate(
    environment: Environment, rows: Sequence[Mapping[str, Any]], device: str = "cpu", download: bool = False
) -> Values:
    """Runs the metric on rows of `id`, `prediction`, `references` and perhaps `image`. `device`: "cpu" hides the GPUs, "cuda:N"
    all but one. `download`: whether its packages may reach the network; by default the variables of the hub's libraries forbid
    it. Raises ForeignError: it died, ran out of time, or gave something else than one number of each name for each id."""
    recipe, what = environment.recipe, f"metric environment '{environment.name}'"
    with tempfile.TemporaryDirectory(prefix="medim-metric-") as scratch:
        given, out, errors = (Path(scratch) / name for name in ("in.jsonl", "out.jsonl", "errors.txt"))
        given.write_text("".join(json.dumps(dict(row), ensure_ascii=True) + "\n" for row in rows), encoding="utf-8")
        folder = environment.folder.resolve()
        command = [str(environment.python.absolute()), str(folder / recipe.script), str(given), str(out)]
        with errors.open("wb") as stream:
            process = subprocess.Popen(
                command,
                cwd=scratch,
                env=_variables(folder, device, download),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stream,
                start_new_session=True,
            )
        try:
            status = process.wait(recipe.timeout)
        except subprocess.TimeoutExpired:
            raise ForeignError(f"{what} ran longer than {recipe.timeout} s{_last_line(errors)}") from None
        finally:
            _end(process)
        if status:
            ended = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
            raise ForeignError(f"{what} {ended}{_last_line(errors)}")
        try:
            return _read(out, [row["id"] for row in rows], recipe.values, recipe.corpus)
        except UserError as error:
            raise ForeignError(f"{what} gave no whole answer: {plain(str(error))}{_last_line(errors)}") from None


def _variables(folder: Path, device: str, download: bool) -> dict[str, str]:
    """This process's environment, but for what concerns its Python; caches are in the environment's `weights/`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON") and name != "VIRTUAL_ENV"}
    weights = str(folder / "weights")
    kept |= {"MEDIM_METRIC_WEIGHTS": weights, "XDG_CACHE_HOME": weights, "HF_HOME": str(folder / "weights" / "huggingface")}
    kept |= {"PYTHONNOUSERSITE": "1", "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    kept.pop("HF_HUB_CACHE", None)
    if device == "cpu":
        kept["CUDA_VISIBLE_DEVICES"] = ""
    elif device.startswith("cuda:"):
        kept["CUDA_VISIBLE_DEVICES"] = device.partition(":")[2]
    return kept if download else kept | dict.fromkeys(VARIABLES, "1") | dict.fromkeys(_PROXIES, _NOWHERE)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the process and what it started, where it still runs."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
    process.wait()


def _last_line(errors: Path) -> str:
    """The last line of the process's standard error, as the end of a message."""
    with errors.open("rb") as stream:
        stream.seek(max(0, errors.stat().st_size - 8192))
        lines = [line for line in map(plain, stream.read().decode("utf-8", "replace").splitlines()) if line]
    return f": {lines[-1][:_LONGEST]}" if lines else ""


def _read(out: Path, ids: Sequence[str], values: Collection[str], corpus: Collection[str]) -> Values:
    """The lines of OUT. Raises UserError at the first that is not as it should be."""
    if not out.is_file():
        raise UserError("it wrote no file")
    found: dict[str, dict[str, float]] = {}
    whole: dict[str, float] | None = None
    known = set(ids)
    for number, line in numbered_lines(out):
        where = f"line {number}"
        try:
            row = parse_json(line)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        if not isinstance(row, dict) or not ({"id", "values"} == row.keys() or {"corpus"} == row.keys()):
            raise UserError(f'{where} is neither {{"id", "values"}} nor {{"corpus"}}')
        if "corpus" in row:
            if whole is not None:
                raise UserError(f"{where}: 'corpus' stands twice")
            whole = _numbers(row["corpus"], corpus, where)
        elif row["id"] not in known:
            raise UserError(f"{where}: id {row['id']!r} was not given")
        elif row["id"] in found:
            raise UserError(f"{where}: id {row['id']!r} stands twice")
        else:
            found[row["id"]] = _numbers(row["values"], values, where)
    left = [one for one in ids if one not in found] if values else []
    if left:
        raise UserError(f"{len(left)} of {len(ids)} ids are missing, such as {left[0]!r}")
    if corpus and whole is None:
        raise UserError("'corpus' is missing")
    return Values({name: np.array([found[one][name] for one in ids]) for name in values}, whole or {})


def _numbers(row: Any, names: Collection[str], where: str) -> dict[str, float]:
    """Finite numbers of exactly these names."""
    if not isinstance(row, dict) or set(row) != set(names):
        shown = ", ".join(sorted(map(str, row))) if isinstance(row, dict) else type(row).__name__
        raise UserError(f"{where}: values {', '.join(sorted(names)) or '(none)'} are needed, not {shown or 'none'}")
    for name, value in row.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise UserError(f"{where}: '{name}' is {value!r}: a finite number is needed")
    return {name: float(value) for name, value in row.items()}
