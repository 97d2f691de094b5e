"""`medim-bench doctor`: is this machine ready?"""

import click

from benchmark.status import not_built


@click.command(short_help="Not built yet: check this installation.")
def doctor() -> None:
    """Will check this installation: versions, Java, accelerator, memory, shipped weights and their hashes."""
    not_built("doctor", "it will check versions, Java, accelerator, memory and the hashes of the shipped weights")
