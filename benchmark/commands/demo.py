"""`medim-bench demo`: the main job on the embedded default."""

import click

from benchmark.options import device_option, overwrite_option


@click.command(short_help="The main job on the embedded default: generate, score, rank, page.")
@device_option()
@overwrite_option()
@click.pass_context
def demo(ctx: click.Context, device: str | None, overwrite: bool) -> None:
    """Runs the shipped phantom-tiny on 256 phantom test cases: three tasks, their anchors, a table and a page in runs/demo.

    Phantoms are synthetic: the numbers prove the software, not a model's clinical worth.
    """
    from benchmark.execute import execute_suite

    ctx.exit(execute_suite("demo", device=device, overwrite=overwrite))
