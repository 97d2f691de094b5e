"""`medim-bench doctor`: what can run here, and what is missing."""

from typing import Annotated

import click

from benchmark import DONE, WITH_FAILURES
from benchmark.options import Option, with_options


@click.command(short_help="What can run here, what is missing, and what provides it.")
@with_options
def doctor(as_json: Annotated[bool, Option("Print JSON, with the version of every package.", "--json")] = False) -> int:
    """Examines this installation, offline: nothing is downloaded, contacted or changed.

    Python, PyTorch and its devices, memory and disk; the packages of each extra; Java and its jars; feature spaces and their
    weights; the shipped models against their hashes; data sets and their checkers. Each that is missing is named with the
    file, package or command that provides it. Exit status 3: something that is needed is missing, or something is damaged.
    """
    import json

    from benchmark.doctor.report import all_checks, as_dict, examine, healthy, summary, table

    findings = examine(all_checks())
    if as_json:
        click.echo(json.dumps(as_dict(findings), indent=2, ensure_ascii=False))
    else:
        click.echo(table(findings))
        click.echo(f"\n{summary(findings)}")
    return DONE if healthy(findings) else WITH_FAILURES
