"""Generates what is still missing, in batches; one sample that fails does not end the run, a system that fails does."""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click
from tqdm import tqdm

from benchmark import DONE, WITH_FAILURES
from benchmark.run.predictions import PredictionStore
from medim.common.errors import UserError
from medim.common.files import write_text
from tasks.protocols import Answers, ModelError, Prediction

FAILURES = "failures.jsonl"


class HasId(Protocol):
    """What is generated for: a case, or a slot of `medim-bench sample`."""

    @property
    def id(self) -> str: ...


Item = TypeVar("Item", bound=HasId)
GenerateBatch = Callable[[Sequence[Item], Sequence[int]], list[Prediction]]


@dataclass(frozen=True)
class Failure:
    """One sample that could not be generated."""

    task: str
    system: str
    id: str
    error: str


def sample_seed(seed: int, task: str, id: str) -> int:
    """The seed of one sample, in [0, 2^63): a hash of the run's seed, the task and the id.
    Independent of order, batching and of which other samples are drawn."""
    digest = hashlib.sha256(f"{seed}/{task}/{id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generate_missing(
    store: PredictionStore,
    items: Sequence[Item],
    generate: GenerateBatch,
    *,
    task: str,
    system: str,
    seed: int,
    batch_size: int,
) -> list[Failure]:
    """Generates every item that `store` lacks and returns the failures; they are tried again by the next call.
    A batch that fails is tried again one by one. When `max(batch_size, 4)` samples in a row fail, or every one, the system
    itself is broken and its exception is raised; that of another library's model in one line."""
    missing = [item for item in items if item.id not in store]
    failures: list[Failure] = []
    in_a_row = 0
    with _progress(f"{task}: {system}", len(items), len(missing)) as progress:
        for start in range(0, len(missing), batch_size):
            batch = missing[start : start + batch_size]
            seeds = {item.id: sample_seed(seed, task, item.id) for item in batch}
            for part in _parts(batch, generate, seeds):
                if isinstance(part, _Failed):
                    in_a_row += 1
                    failures.append(Failure(task, system, part.id, _line(part.error)))
                    if in_a_row >= max(batch_size, 4) or len(failures) == len(items):
                        if isinstance(part.error, ModelError):
                            raise UserError(f"{task}: {part.error}") from part.error
                        raise part.error
                else:
                    in_a_row = 0
                    store.append(part, seeds)
                    progress.update(len(part))
    return failures


def copy_missing(store: PredictionStore, answers: Answers, *, task: str, system: str, batch_size: int) -> None:
    """Takes over every prediction that `store` lacks from a system whose predictions are there already.
    Raises UserError: one cannot be read."""
    missing = [id for id in answers.ids if id not in store]
    with _progress(f"{task}: reading {system}", len(answers.ids), len(missing)) as progress:
        for start in range(0, len(missing), batch_size):
            batch = missing[start : start + batch_size]
            store.append(answers.predictions(batch), dict.fromkeys(batch))
            progress.update(len(batch))


def _progress(what: str, total: int, missing: int) -> "tqdm[Any]":
    return tqdm(total=total, initial=total - missing, desc=what, unit="sample", disable=not missing, file=sys.stderr)


def write_failures(path: Path, failures: Sequence[Failure]) -> None:
    """Writes the failures as JSON lines; without any, removes what an earlier command left."""
    if failures:
        write_text(path, "".join(json.dumps(asdict(failure), ensure_ascii=False) + "\n" for failure in failures))
    else:
        path.unlink(missing_ok=True)


def exit_status(out: Path, failures: int) -> int:
    """The exit status of a command with so many failures, which it mentions."""
    if not failures:
        return DONE
    click.echo(f"{failures} {'sample' if failures == 1 else 'samples'} failed: {out / FAILURES}", err=True)
    return WITH_FAILURES


def _line(error: Exception) -> str:
    return str(error) if isinstance(error, ModelError) else f"{type(error).__name__}: {error}"


@dataclass(frozen=True)
class _Failed:
    id: str
    error: Exception


def _parts(batch: Sequence[Item], generate: GenerateBatch, seeds: dict[str, int]) -> Iterator[list[Prediction] | _Failed]:
    """Yields lists of predictions, or what failed: the batch as a whole where that works, else item by item."""
    try:
        yield _checked(batch, generate(batch, [seeds[item.id] for item in batch]))
        return
    except UserError:
        raise
    except Exception as error:
        if len(batch) == 1:
            yield _Failed(batch[0].id, error)
            return
    for item in batch:
        try:
            part = _checked([item], generate([item], [seeds[item.id]]))
        except UserError:
            raise
        except Exception as error:
            yield _Failed(item.id, error)
        else:
            yield part


def _checked(batch: Sequence[Item], predictions: list[Prediction]) -> list[Prediction]:
    ids, wanted = [prediction.id for prediction in predictions], [item.id for item in batch]
    if ids != wanted:
        raise ValueError(f"predictions for {wanted} were requested, and came for {ids}")
    return predictions
