"""`medim-bench diagnose`: failure signatures of a checkpoint."""

import sys
from pathlib import Path

import click

from benchmark import WITH_FAILURES
from benchmark.commands.options import data_option, device_option, out_option, seed_option

MARKS = {"pass": "pass", "warn": "WARN", "fail": "FAIL", "unknown": "?"}


@click.command(short_help="Find what is wrong with a checkpoint.")
@click.argument("checkpoint")
@data_option(required=False)
@out_option(required=False, help="Folder for diagnosis.json.")
@click.option("--limit", type=click.IntRange(min=2), default=64, show_default=True, help="Pairs of each split of --data.")
@click.option(
    "--cache-drift", type=click.IntRange(min=0), default=0, metavar="N",
    help="Draw N pairs at cache.refresh 1, 2, 4 and 8, and tell how many tokens differ and what it saves.",
)  # fmt: skip
@seed_option()
@device_option()
def diagnose(
    checkpoint: str, data: str | None, out: Path | None, limit: int, cache_drift: int, seed: int, device: str | None
) -> None:
    """Checks a model for the known ways in which such models fail: one line each with a figure, a verdict and what to do.

    On the model alone: finite weights, attention to both sides, the timestep's effect, gates and scales. With --data also:
    codebook use, tokenizer round trip, report length, domain shift, memory of training pairs, what the image tells of the
    report. Exit status 3 where a check fails.
    """
    from medim.data.loading import load_dataset

    dataset = load_dataset(data) if data is not None else None
    from benchmark.diagnosis import diagnose as run_checks
    from medim.common.files import write_json
    from medim.pipeline import MeDiMPipeline

    checks = []
    for check in run_checks(MeDiMPipeline.from_pretrained(checkpoint, device), dataset, limit, seed, cache_drift):
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
        sys.exit(WITH_FAILURES)
