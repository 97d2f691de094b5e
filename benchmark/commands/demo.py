"""`medim-bench demo`: the main job on the embedded default."""

from pathlib import Path
from typing import Any

import click

from benchmark.options import Device, Overwrite, with_options
from benchmark.run.options import RunOptions
from tasks import AUGMENTATION


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
    pairs: dict[str, Any] = {"tasks": (AUGMENTATION,), "model": "phantom-tiny", "data": ("phantom",), "preset": "demo"}
    out = Path("runs/demo-augmentation")
    augmented = execute_augmentation(RunOptions(**pairs, out=out, device=device, overwrite=overwrite))
    click.echo("leaderboard: runs/demo/leaderboard/index.html")
    return max(status, augmented)
