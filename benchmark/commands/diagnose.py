"""`medim-bench diagnose`: failure signatures of a checkpoint."""

from pathlib import Path
from typing import Annotated

import click

from benchmark import DONE, WITH_FAILURES
from benchmark.options import FOLDER, Data, Device, Option, Seed, with_options

_DRIFT = "Draw N pairs at cache.refresh 1, 2, 4 and 8, and count how many tokens differ and what it saves."
MARKS = {"pass": "pass", "warn": "WARN", "fail": "FAIL", "unknown": "?"}


@click.command(short_help="Find what is wrong with a checkpoint.")
@click.argument("checkpoint")
@with_options
def diagnose(
    checkpoint: str,
    data: Data | None = None,
    out: Annotated[Path | None, Option("Folder for diagnosis.json.", metavar="DIR", type=FOLDER)] = None,
    limit: Annotated[int, Option("Pairs of each split of --data.", low=2)] = 64,
    cache_drift: Annotated[int, Option(_DRIFT, metavar="N", low=0)] = 0,
    seed: Seed = 0,
    device: Device | None = None,
) -> int:
    """Checks a model for the known ways in which such models fail: one line each with a figure, a verdict and what to do.

    On the model alone: finite weights, attention to both sides, the timestep's effect, gates and scales. With --data also:
    codebook use, tokenizer round trip, report length, domain shift, memory of training pairs, what the image says of the
    report. Exit status 3 where a check fails.
    """
    from medim.data.loading import load_dataset

    dataset = load_dataset(data) if data is not None else None
    from benchmark.doctor.checkpoint import diagnose as run_checks
    from benchmark.systems import as_shown_to
    from medim.common.files import write_json
    from medim.pipeline import MeDiMPipeline

    checks, pipeline = [], MeDiMPipeline.from_pretrained(checkpoint, device)
    dataset = dataset and as_shown_to(pipeline, dataset)
    for check in run_checks(pipeline, dataset, limit, seed, cache_drift):
        checks.append(check)
        first, *others = check.figure.split("\n")
        click.echo(f"{MARKS[check.verdict]:<5} {check.name}: {first}")
        for line in others:
            click.echo(f"      {line}")
        if check.advice:
            click.echo(f"      -> {check.advice}")
    if out is not None:
        write_json(
            out / "diagnosis.json", {"checkpoint": checkpoint, "data": data, "checks": [vars(check) for check in checks]}
        )
    if any(check.verdict == "fail" for check in checks):
        return WITH_FAILURES
    return DONE
