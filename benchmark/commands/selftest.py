"""`medim-bench selftest`: do the installed metrics behave as documented?"""

from pathlib import Path
from typing import Annotated

import click

from benchmark import DONE, WITH_FAILURES
from benchmark.options import FOLDER, Option, with_options

_INDIANA = "With --labels: folder that holds openi_metadata_dataset_chexpert_labels.csv and indiana_reports.csv."


@click.command(short_help="Show the metrics changes of known effect, and what each notices.")
@with_options
def selftest(
    out: Annotated[Path | None, Option("Folder for selftest.json.", metavar="DIR", type=FOLDER)] = None,
    labels: Annotated[bool, Option("Instead: how well the rules for chest reports and captions read, in seconds.")] = False,
    indiana: Annotated[Path | None, Option(_INDIANA, type=click.Path(exists=True, file_okay=False, path_type=Path))] = None,
    statistics: Annotated[bool, Option("Instead: simulate verdicts and intervals. How often are they false?")] = False,
    runs: Annotated[int | None, Option("Of each simulation, with --statistics.  [default: 4000]", low=100)] = None,
) -> int:
    """Shows every installed metric embedded pairs before and after a change of known effect; offline, in some two minutes.

    Denials flipped, sides swapped, half of the outputs missing, pairs shuffled, one answer for all, other order, line
    separators, 16-bit images, JPEG, noise, few samples, copies of training pairs. `pass`: as it should be; `blind`: it does
    not notice, as documented (BLEU a denied finding); `warn`: not as documented; `fail`: wrong. Exit status 3: a metric fails.

    --statistics simulates systems between which there is no difference: how often is one called better, non-inferior or
    equivalent, how often do intervals hold the truth, and which difference would be found in 80 % of repetitions. Some minutes.
    """
    from benchmark.selftest.run import selftest, table
    from medim.common.errors import UserError
    from medim.common.files import write_json

    if indiana is not None and not labels:
        raise UserError("--indiana goes with --labels")
    if labels:
        _labels(indiana, out)
        return DONE
    if runs is not None and not statistics:
        raise click.UsageError("--runs goes with --statistics")
    if statistics:
        return _statistics(runs, out)
    outcome = selftest(lambda line: click.echo(line, err=True))
    click.echo(table(outcome.checks))
    counts = ", ".join(f"{count} {verdict}" for verdict, count in outcome.counts().items() if count)
    click.echo(f"\n{len(outcome.checks)} checks in {outcome.seconds:.0f} s: {counts}")
    if out is not None:
        write_json(out / "selftest.json", outcome.as_dict())
        click.echo(f"checks: {out / 'selftest.json'}")
    return WITH_FAILURES if outcome.failed else DONE


def _labels(indiana: Path | None, out: Path | None) -> None:
    from benchmark.selftest.labels import read_indiana, read_own_set, table
    from medim.common.files import write_json

    readings = [read_own_set(), *([read_indiana(indiana)] if indiana else [])]
    click.echo("\n".join(table(reading) for reading in readings))
    if out is not None:
        figures = [figure for reading in readings for figure in reading.as_dict()["figures"]]
        write_json(out / "selftest_labels.json", {"figures": figures, "wrong": readings[0].as_dict()["wrong"]})
        click.echo(f"figures: {out / 'selftest_labels.json'}")


def _statistics(runs: int | None, out: Path | None) -> int:
    from dataclasses import asdict

    from benchmark.selftest.statistics import RUNS, rates, table
    from medim.common.files import write_json

    runs = runs or RUNS
    found = list(rates(runs))
    click.echo(table(found))
    failed = [rate for rate in found if rate.failed]
    click.echo(f"\n{len(found)} figures of {runs:,} runs each: {len(failed)} beyond their bound")
    if out is not None:
        write_json(out / "statistics.json", {"runs": runs, "rates": [asdict(rate) for rate in found]})
        click.echo(f"figures: {out / 'statistics.json'}")
    return WITH_FAILURES if failed else DONE
