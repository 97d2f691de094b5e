"""`medim-bench doctor`: what can run here, and what is missing."""

import click

from benchmark import DONE, WITH_FAILURES


@click.command(short_help="What can run here, what is missing, and what provides it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the version of every package.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
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
    ctx.exit(DONE if healthy(findings) else WITH_FAILURES)
