"""`medim-bench data check`: opens, checks, prints, writes, and turns what was found into an exit status."""

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmark import DONE, STOPPED, WITH_FAILURES
from benchmark.run.generation import FAILURES
from medim.common.errors import UserError
from medim.common.files import write_json, write_text
from medim.data.checks.check import LENGTHS, check_dataset, open_for_check
from medim.data.checks.kept import Kept
from medim.pair import SPLITS

if TYPE_CHECKING:
    from medim.tokenizers.report import ReportTokenizer

CHECK, READ = "check.json", ".check.read"
_WORTH_WORKERS = 2000  # pairs; starting a worker takes seconds


def check_and_print(
    name: str,
    model: str | None,
    tokenizer: Path | None,
    model_length: int | None,
    resolution: int | None,
    allow: Collection[str],
    limit: int | None,
    workers: int | None,
    out: Path | None,
) -> int:
    """Checks a data set, prints the report and writes it into `out`, where a check that was stopped continues; exit status.

    Raises:
        UserError: no such data set, model or tokenizer, or options that contradict each other.
    """
    measure, lengths = _measure(model, tokenizer, model_length)
    dataset = open_for_check(name)
    if workers is None:
        size = sum(min(dataset.size(split), limit or dataset.size(split)) for split in SPLITS)
        workers = (os.cpu_count() or 1) if size >= _WORTH_WORKERS else 0
    kept = None if out is None else Kept(out / READ, dataset, measure)
    report = check_dataset(
        dataset, limit=limit, tokenizer=measure, lengths=lengths, resolution=resolution, workers=workers, kept=kept,
        progress=True,
    )  # fmt: skip
    for line in report.lines(allow):
        click.echo(line)
    if out is not None and kept is not None:
        write_json(out / CHECK, report.to_json(allow))
        if report.failures:
            lines = [json.dumps({"item": item, "reason": reason}, ensure_ascii=False) for item, reason in report.failures]
            write_text(out / FAILURES, "\n".join(lines) + "\n")
        else:
            (out / FAILURES).unlink(missing_ok=True)
        kept.forget()
    if leaks := report.leaks(allow):
        kinds = ", ".join(leak.kind for leak in leaks)
        click.echo(f"{name}: {kinds}: scores on this set cannot be trusted; mend the splits, or name what is meant", err=True)
        return STOPPED
    if report.failures:
        where = f": {out / FAILURES}" if out is not None else "; --out DIR lists them"
        click.echo(f"{len(report.failures)} {'pair' if len(report.failures) == 1 else 'pairs'} cannot be read{where}", err=True)
        return WITH_FAILURES
    return DONE


def _measure(
    model: str | None, tokenizer: Path | None, model_length: int | None
) -> tuple["ReportTokenizer | None", tuple[int, ...]]:
    """What reports are measured with, and the lengths that they are held against."""
    if model is None and tokenizer is None:
        return None, (model_length,) if model_length else LENGTHS
    from medim.checkpoints import resolve
    from medim.model_folder import read_config
    from medim.tokenizers.report import ReportTokenizer  # transformers: seconds that most checks need not wait for

    if model is not None and tokenizer is not None:
        raise UserError("give --model or --tokenizer, not both: a model has its own tokenizer")
    if tokenizer is not None:
        if not tokenizer.is_dir():
            raise UserError(f"--tokenizer: folder '{tokenizer}' does not exist")
        lengths = (model_length,) if model_length else LENGTHS
        return ReportTokenizer.from_pretrained(tokenizer, max(lengths)), lengths
    folder = resolve(str(model))
    if not (folder / "report_tokenizer").is_dir():
        raise UserError(f"model '{model}' has no folder report_tokenizer/")
    length = model_length or read_config(folder).report_length
    return ReportTokenizer.from_pretrained(folder / "report_tokenizer", length), (length,)
