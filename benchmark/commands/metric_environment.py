"""`medim-bench metric-environment`: makes an environment for one metric, and tries it."""

from pathlib import Path
from typing import Annotated

import click

from benchmark.cli import NearestGroup
from benchmark.options import FOLDER, Option, Out, with_options

_PYTHON = "The interpreter of the environment.  [default: the one of medim-bench]"
_DOWNLOAD = "Let its packages fetch the weights that they know by name into DIR/weights; HF_HUB_OFFLINE=1 forbids it."
PAIR = ("No pleural effusion. The heart is enlarged.", "Small left pleural effusion. The heart is enlarged.")
"""A reference and a prediction."""


@click.group("metric-environment", cls=NearestGroup, short_help="Metrics that need packages which cannot live beside ours.")
def metric_environment() -> None:
    """Runs a metric of other packages in a folder with a separate Python; `score` and `run` find it there.

    A metric is looked for in the folder that MEDIM_NAME names, else in NAME within that of MEDIM_BENCH_WEIGHTS.
    """


@metric_environment.command()
@click.argument("name", metavar="NAME|DIR")
@with_options
def make(
    name: str,
    out: Out,
    python: Annotated[str | None, Option(_PYTHON, metavar="FILE")] = None,
    overwrite: Annotated[bool, Option("Build it anew; its weights stay.")] = False,
) -> int:
    """Makes the environment of a shipped recipe, or of a folder with recipe.yaml and its script.

    pip installs what the recipe states, from where pip's settings say (PIP_INDEX_URL, PIP_FIND_LINKS, PIP_NO_INDEX).
    Weights are the user's to put into OUT/weights; the last line says which.
    """
    from tasks.metrics.isolated import environment as isolated
    from tasks.metrics.weights import WEIGHTS, variable

    click.echo(f"{name}: installing into {out}; large packages take minutes", err=True)
    environment = isolated.make(name, out, python, overwrite)
    recipe, called = environment.recipe, environment.name
    click.echo(f"{recipe.title}: {len(isolated.packages(out))} packages in {out}")
    click.echo(f"name it by {variable(called)}={out.resolve()}, or keep it as '{called}' in the folder {WEIGHTS}")
    if recipe.weights:
        click.echo(f"{out / 'weights'} needs {', '.join(recipe.weights)}: {recipe.source} ({recipe.licence})")
    return 0


@metric_environment.command("try")
@click.argument("folder", metavar="DIR", type=FOLDER)
@with_options
def try_(folder: Path, download: Annotated[bool, Option(_DOWNLOAD)] = False) -> int:
    """Runs the metric of DIR on a report and its reference, and prints what it gives."""
    import os
    import tempfile

    from PIL import Image

    from medim.common.errors import UserError
    from tasks.metrics.isolated.environment import Environment
    from tasks.metrics.isolated.process import evaluate

    if download and os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        raise UserError("--download, but HF_HUB_OFFLINE is set")
    environment = Environment.opened(folder.resolve().name, folder, weights=not download)
    row = {"id": "example", "prediction": PAIR[1], "references": [PAIR[0]]}
    with tempfile.NamedTemporaryFile(suffix=".png") as picture:
        if environment.recipe.images:
            Image.new("RGB", (64, 64), (128, 128, 128)).save(picture.name)
            row["image"] = picture.name
        values = evaluate(environment, [row], download=download)
    for name, column in values.cases.items():
        click.echo(f"{environment.recipe.column(name)}: {column[0]:.6g}")
    for name, value in values.corpus.items():
        click.echo(f"{environment.recipe.column(name)}: {value:.6g} (corpus)")
    return 0
