"""`medim-bench selftest`: do the installed metrics behave as documented?"""

from pathlib import Path

import click

from benchmark.options import out_option
from benchmark.status import DONE, WITH_FAILURES


@click.command(short_help="Show the metrics changes of known effect, and what each notices.")
@out_option(required=False, help="Folder for selftest.json.")
@click.pass_context
def selftest(ctx: click.Context, out: Path | None) -> None:
    """Shows every installed metric embedded pairs before and after a change of known effect; offline, in some two minutes.

    Denials flipped, sides swapped, half of the outputs missing, pairs shuffled, one answer for all, other order, line
    separators, 16-bit images, JPEG, noise, few samples, copies of training pairs. `pass`: as it should be; `blind`: it does
    not notice, as documented (BLEU a denied finding); `warn`: not as documented; `fail`: wrong. Exit status 3: a metric fails.
    """
    from benchmark.selftest import selftest, table
    from medim.errors import UserError
    from medim.files import write_json

    try:
        outcome = selftest(lambda line: click.echo(line, err=True))
    except ModuleNotFoundError as error:
        if error.name not in {"torchmetrics", "pycocoevalcap"}:
            raise
        raise UserError(f"scoring needs {error.name}: pip install 'medim-bench[scoring]'") from error
    click.echo(table(outcome.checks))
    counts = ", ".join(f"{count} {verdict}" for verdict, count in outcome.counts().items() if count)
    click.echo(f"\n{len(outcome.checks)} checks in {outcome.seconds:.0f} s: {counts}")
    if out is not None:
        write_json(out / "selftest.json", outcome.as_dict())
        click.echo(f"checks: {out / 'selftest.json'}")
    ctx.exit(WITH_FAILURES if outcome.failed else DONE)
