"""`medim-bench sample`: images, reports, pairs and edits to look at."""

import re
from pathlib import Path

import click

from benchmark.cli import NearestGroup
from benchmark.commands.options import (
    data_option,
    device_option,
    model_option,
    out_option,
    overwrite_option,
    seed_option,
    set_option,
)
from medim.common.errors import UserError

NOTHING = "sample edit needs something to change: --new-report, --add, --remove, --box, --mask, or [[ ]] in --report"


@click.group(cls=NearestGroup, short_help="Draw images, reports, pairs or edits to look at.")
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
    @set_option("Override a setting of the model, such as sampling.image.steps=32 or dtype=bfloat16; repeatable.")
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
        from benchmark.run.execute import execute_sample

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
    "pair",
    "Not drawn from: its checkers serve sampling.steering.candidates and .repairs.",
    "Without --prompt both are drawn from noise.",
    "Draw images together with their reports.",
)


def _box(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int, int, int] | None:
    if value is None:
        return None
    found = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*", value)
    if found is None:
        raise UserError(f"--box takes x0,y0,x1,y1 in pixels, such as 0,32,32,64, not '{value}'")
    left, top, right, bottom = map(int, found.groups())
    return left, top, right, bottom


@sample.command(short_help="Change a part of images and reports.")
@model_option()
@out_option()
@click.option("--image", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="An image to edit.")
@click.option("--report", metavar="TEXT", help="Its report; [[ ]] is a gap to be written, [[12]] one of 12 tokens.")
@data_option(required=False, help="Edit pairs of this data set; with --image, its reports lend their sentences.")
@click.option("--split", default="test", show_default=True, help="Split of --data.")
@click.option("--n", type=click.IntRange(min=1), help="Edits.  [default: 1 of an --image, 16 of --data]")
@click.option("--new-report", metavar="TEXT", help="What the report becomes; it may have gaps.")
@click.option("--add", metavar="FINDING", help="Add a finding to the report, in words of other reports.")
@click.option("--remove", metavar="FINDING", help="Take a finding out of the report.")
@click.option("--box", callback=_box, metavar="X0,Y0,X1,Y1", help="Region to draw anew, in pixels.  [default: found]")
@click.option(
    "--mask", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Region as a picture: what is not black."
)
@seed_option()
@click.option("--batch-size", default=64, show_default=True, type=click.IntRange(min=1), help="Edits drawn at once.")
@device_option()
@set_option("Override a setting of the model, such as sampling.image.steps=32 or dtype=bfloat16; repeatable.")
@overwrite_option()
@click.pass_context
def edit(
    ctx: click.Context,
    model: str,
    out: Path,
    image: Path | None,
    report: str | None,
    data: str | None,
    split: str,
    n: int | None,
    new_report: str | None,
    add: str | None,
    remove: str | None,
    box: tuple[int, int, int, int] | None,
    mask: Path | None,
    seed: int,
    batch_size: int,
    device: str | None,
    overrides: dict[str, str],
    overwrite: bool,
) -> None:
    """Changes images as their reports are changed; all tokens outside the region stay.

    The region is found by what the new report says against the image, or named by --box or --mask. Without a new report the
    region alone is drawn anew, for the report as it is, and gaps in --report are written for the image. Writes before/,
    images/, samples.jsonl and contact_sheet.png; the same command again continues.

    \b
    sample edit --model M --data phantom --add "left effusion" --n 8 --out DIR
    sample edit --model M --image a.png --report "..." --new-report "..." --out DIR
    sample edit --model M --image a.png --report "Heart size is normal. [[ ]] No effusion." --box 0,32,32,64 --out DIR
    """
    if (image is None) == (data is None) and (image is None or add is remove is None):
        raise UserError("sample edit takes --image FILE with --report TEXT, or --data D; both only with --add or --remove")
    if (image is None) != (report is None):
        raise UserError("sample edit: --image and --report go together; pairs of --data have reports")
    if sum(one is not None for one in (new_report, add, remove)) > 1:
        raise UserError("sample edit takes one of --new-report, --add and --remove")
    if box is not None and mask is not None:
        raise UserError("sample edit takes --box or --mask, not both")
    if not [one for one in (new_report, add, remove, box, mask) if one is not None] and "[[" not in (report or ""):
        raise UserError(NOTHING)
    from benchmark.run.execute import execute_edit

    ctx.exit(
        execute_edit(
            model, out, image=image, report=report, data=data, split=split, n=n, new_report=new_report, finding=add or remove,
            present=add is not None, box=box, mask=mask, seed=seed, batch_size=batch_size, device=device, overrides=overrides,
            overwrite=overwrite,
        )
    )  # fmt: skip
