"""`medim-bench sample`: images, reports and pairs to look at."""

from pathlib import Path

import click

from benchmark.cli import NearestGroup
from benchmark.options import (
    data_option,
    device_option,
    model_option,
    out_option,
    overwrite_option,
    seed_option,
    set_option,
)
from benchmark.status import not_built
from medim.errors import UserError


@click.group(cls=NearestGroup, short_help="Draw images, reports or pairs to look at.")
def sample() -> None:
    """Draws samples into --out: images/, samples.jsonl and contact_sheet.png. No scores; `run` scores."""


def _command(kind: str, needs: str, text: str, help: str) -> None:
    """Adds one kind of sample: the kinds differ in what they are drawn for, and share every option."""

    @sample.command(name=kind, short_help=help, help=help + "\n\n" + text)
    @model_option()
    @out_option()
    @click.option("--n", default=16, show_default=True, type=click.IntRange(min=1), help="Number of samples.")
    @click.option(
        "--prompt", metavar="TEXT", help="Text to draw for." if kind != "report" else "Not used: reports need images."
    )
    @data_option(required=False, help=needs)
    @click.option("--split", default="test", show_default=True, help="Split of --data.")
    @seed_option()
    @click.option("--batch-size", default=64, show_default=True, type=click.IntRange(min=1), help="Samples drawn at once.")
    @device_option()
    @set_option("Override a sampler setting, such as sampling.image.steps=32; repeatable.")
    @overwrite_option()
    @click.pass_context
    def command(
        ctx: click.Context,
        model: str,
        out: Path,
        n: int,
        prompt: str | None,
        data: str | None,
        split: str,
        seed: int,
        batch_size: int,
        device: str | None,
        overrides: dict[str, str],
        overwrite: bool,
    ) -> None:
        if kind == "image" and (prompt is None) == (data is None):
            raise UserError("sample image needs either --prompt TEXT or --data D, whose reports it draws")
        if kind == "report" and (data is None or prompt is not None):
            raise UserError("sample report needs --data D, whose images it describes (and takes no --prompt)")
        if kind == "pair" and data is not None:
            raise UserError("sample pair takes --prompt TEXT or nothing, not --data")
        from benchmark.execute import execute_sample

        ctx.exit(
            execute_sample(
                kind, model, out, n=n, prompt=prompt, data=data, split=split, seed=seed, batch_size=batch_size,
                device=device, overrides=overrides, overwrite=overwrite,
            )
        )  # fmt: skip


_command(
    "image",
    "Draw images of this data set's reports.",
    "One --prompt gives N images of one report; --data gives one image of each of the first N reports.",
    "Draw images of reports.",
)
_command(
    "report",
    "Describe this data set's images.",
    "One report of each of the first N images of --data.",
    "Draw reports of images.",
)
_command(
    "pair", "Not used: pairs are drawn from nothing, or from --prompt.", "Without --prompt both are drawn from noise.",
    "Draw images together with their reports.",
)  # fmt: skip


@sample.command(short_help="Not built yet: change a part of an image or a report.")
@model_option(required=False)
@out_option(required=False)
@data_option(required=False)
@click.option("--region", metavar="X,Y,W,H", help="Part of the image to draw anew, in pixels.")
@click.option("--prompt", metavar="TEXT", help="The report to draw the region for.")
def edit(model: str | None, out: Path | None, data: str | None, region: str | None, prompt: str | None) -> None:
    """Will draw anew a region of an image or a span of a report, with all the rest given."""
    not_built("sample edit", "it will draw anew a region of an image or a span of a report, with all the rest given")
