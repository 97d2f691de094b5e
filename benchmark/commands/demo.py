"""`medim-bench demo`: the main job on the embedded default."""

from pathlib import Path

import click

from benchmark.options import Device, Overwrite, with_options
from benchmark.run.options import RunOptions


@click.command(short_help="The main job on the embedded default: generate, score, rank, page.")
@with_options
def demo(device: Device | None = None, overwrite: Overwrite = False) -> int:
    """Runs the shipped phantom-tiny on phantom test cases: three tasks, their anchors, a table and a page in runs/demo.

    Then a classifier learns with and without pairs that the model draws, in three arms and one seed, in
    runs/demo-augmentation: that the protocol runs, and too little to judge a generator by.

    Phantoms are synthetic: the numbers prove the software, not a model's clinical worth.
    """
    from benchmark.augmentation.augment import execute_augmentation
    from benchmark.run.command import execute_run

    status = execute_run(RunOptions(suite="demo", device=device, overwrite=overwrite))
    augmented = execute_augmentation(
        "phantom-tiny",
        "phantom",
        Path("runs/demo-augmentation"),
        preset="demo",
        overrides={},
        device=device,
        overwrite=overwrite,
    )
    click.echo("leaderboard: runs/demo/leaderboard/index.html")
    return max(status, augmented)
