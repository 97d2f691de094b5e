"""`medim-bench sample`: images, reports, pairs and edits to look at."""

import click

from benchmark.cli import NearestGroup
from benchmark.options import with_options
from benchmark.sampling.options import EditOptions, SampleOptions
from medim.common.errors import UserError


@click.group(cls=NearestGroup, short_help="Draw images, reports, pairs or edits to look at.")
def sample() -> None:
    """Draws samples into --out: images/, samples.jsonl and contact_sheet.png. No scores; `run` scores."""


@sample.command(short_help="Draw images of reports.")
@with_options
def image(options: SampleOptions) -> int:
    """Draws images: one --prompt gives N images of one report; --data gives one image of each of the first N reports."""
    if (options.prompt is None) == (options.data is None):
        raise UserError("sample image needs either --prompt TEXT or --data D, whose reports it draws")
    from benchmark.sampling.samples import execute_sample

    return execute_sample("image", options)


@sample.command(short_help="Draw reports of images.")
@with_options
def report(options: SampleOptions) -> int:
    """Writes one report of each of the first N images of --data."""
    if options.data is None or options.prompt is not None:
        raise UserError("sample report needs --data D, whose images it describes (and takes no --prompt)")
    from benchmark.sampling.samples import execute_sample

    return execute_sample("report", options)


@sample.command(short_help="Draw images together with their reports.")
@with_options
def pair(options: SampleOptions) -> int:
    """Draws images together with their reports; without --prompt both are drawn from noise."""
    from benchmark.sampling.samples import execute_sample

    return execute_sample("pair", options)


@sample.command(short_help="Change a part of images and reports.")
@with_options
def edit(options: EditOptions) -> int:
    """Changes images as their reports are changed; all tokens outside the region stay.

    The region is found by what the new report says against the image, or named by --box or --mask. Without a new report the
    region alone is drawn anew, for the report as it is, and gaps in --report are written for the image. Writes before/,
    images/, samples.jsonl and contact_sheet.png; the same command again continues.

    \b
    sample edit --model M --data phantom --add "left effusion" --n 8 --out DIR
    sample edit --model M --image a.png --report "..." --new-report "..." --out DIR
    sample edit --model M --image a.png --report "Heart size is normal. [[ ]] No effusion." --box 0,32,32,64 --out DIR
    """
    from benchmark.sampling.samples import execute_edit

    return execute_edit(options)
