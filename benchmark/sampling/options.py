"""The options of `medim-bench sample`, which its Python functions take too."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import click

from benchmark.options import FILE, Device, Model, Option, Out, Overrides, Overwrite, Seed
from medim.common.errors import UserError

Box = tuple[int, int, int, int]
_DATA = "Draw images of its reports, or reports of its images; of pairs its checkers serve sampling.steering alone."
_LENDS = "Edit pairs of this data set; with --image, its reports lend their sentences."
_NOTHING = "sample edit needs something to change: --new-report, --add, --remove, --box, --mask, or [[ ]] in --report"
SplitOfData = Annotated[str, Option("Split of --data.")]


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    model: Model
    out: Out
    n: Annotated[int, Option("Number of samples.", low=1)] = 16
    prompt: Annotated[str | None, Option("Text to draw for; reports need images instead.", metavar="TEXT")] = None
    data: Annotated[str | None, Option(_DATA, metavar="NAME|DIR")] = None
    split: SplitOfData = "test"
    seed: Seed = 0
    batch_size: Annotated[int, Option("Samples drawn at once.", low=1)] = 64
    device: Device | None = None
    overrides: Overrides = field(default_factory=dict)
    overwrite: Overwrite = False


def _box(ctx: click.Context, param: click.Parameter, value: str | None) -> Box | None:
    if value is None:
        return None
    found = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*", value)
    if found is None:
        raise UserError(f"--box takes x0,y0,x1,y1 in pixels, such as 0,32,32,64, not '{value}'")
    left, top, right, bottom = map(int, found.groups())
    return left, top, right, bottom


@dataclass(frozen=True, kw_only=True)
class EditOptions:
    """What is changed of which images and reports. Raises UserError: options that do not go together."""

    model: Model
    out: Out
    image: Annotated[Path | None, Option("An image to edit.", metavar="FILE", type=FILE)] = None
    report: Annotated[
        str | None, Option("Its report; [[ ]] is a gap to be written, [[12]] one of 12 tokens.", metavar="TEXT")
    ] = None
    data: Annotated[str | None, Option(_LENDS, metavar="NAME|DIR")] = None
    split: SplitOfData = "test"
    n: Annotated[int | None, Option("Edits.  [default: 1 of an --image, 16 of --data]", low=1)] = None
    new_report: Annotated[str | None, Option("What the report becomes; it may have gaps.", metavar="TEXT")] = None
    add: Annotated[str | None, Option("Add a finding to the report, in words of other reports.", metavar="FINDING")] = None
    remove: Annotated[str | None, Option("Take a finding out of the report.", metavar="FINDING")] = None
    box: Annotated[
        Box | None,
        Option("Region to draw anew, in pixels.  [default: found]", metavar="X0,Y0,X1,Y1", type=click.STRING, callback=_box),
    ] = None
    mask: Annotated[Path | None, Option("Region as a picture: what is not black.", metavar="FILE", type=FILE)] = None
    seed: Seed = 0
    batch_size: Annotated[int, Option("Edits drawn at once.", low=1)] = 64
    device: Device | None = None
    overrides: Overrides = field(default_factory=dict)
    overwrite: Overwrite = False

    def __post_init__(self) -> None:
        if (self.image is None) == (self.data is None) and (self.image is None or self.finding is None):
            raise UserError("sample edit takes --image FILE with --report TEXT, or --data D; both only with --add or --remove")
        if (self.image is None) != (self.report is None):
            raise UserError("sample edit: --image and --report go together; pairs of --data have reports")
        if sum(one is not None for one in (self.new_report, self.add, self.remove)) > 1:
            raise UserError("sample edit takes one of --new-report, --add and --remove")
        if self.box is not None and self.mask is not None:
            raise UserError("sample edit takes --box or --mask, not both")
        changes = (self.new_report, self.finding, self.box, self.mask)
        if all(one is None for one in changes) and "[[" not in (self.report or ""):
            raise UserError(_NOTHING)
        if self.box is not None:
            left, top, right, bottom = self.box
            if not (left < right and top < bottom):
                raise UserError(f"--box {left},{top},{right},{bottom}: x0,y0,x1,y1 with x0 < x1 and y0 < y1 are needed")

    @property
    def finding(self) -> str | None:
        """What is added or removed."""
        return self.remove if self.add is None else self.add

    @property
    def present(self) -> bool:
        """Whether the finding is to be there afterwards."""
        return self.add is not None
