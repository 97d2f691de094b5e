"""`medim-bench selftest`: do the metrics give known values here?"""

import click

from benchmark.status import not_built


@click.command(short_help="Not built yet: check the metrics against known values.")
def selftest() -> None:
    """Will compute every metric on inputs with known values, and train and sample for a few steps."""
    not_built("selftest", "it will compute every metric on inputs with known values, and train and sample for a few steps")
