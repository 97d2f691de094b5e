"""`medim-bench speed`: how fast data, training, sampling and scoring are here."""

from pathlib import Path

import click

from benchmark.cli import NearestGroup
from benchmark.options import data_option, device_option, model_option, out_option, set_option
from benchmark.status import not_built


@click.group(cls=NearestGroup, short_help="Measure how fast data are read and tokenised.")
def speed() -> None:
    """Measures what this machine does in a second. `data`: reading and tokenising.

    Will measure training, sampling and scoring too, beside what the machine could give.
    """


@speed.command(short_help="Reading against tokenising, and whether memory stays flat.")
@data_option()
@click.option(
    "--n", type=click.IntRange(min=1), default=5000, show_default=True, metavar="N", help="Pairs to read and tokenise."
)
@click.option("--tokenizer", default="phantom-tiny", show_default=True, metavar="NAME|DIR", help="The image tokenizer.")
@click.option(
    "--split", default="train", show_default=True, metavar="SPLIT", help="Gone through again where it has fewer pairs."
)
@click.option(
    "--workers", type=click.IntRange(min=0), default=0, show_default=True, help="Processes that draw or decode; 0: this one."
)
@click.option(
    "--cached",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep drawn pictures in this folder, and read them from there; drawing is still measured, one turn in ten.",
)
@out_option(required=False, help="Folder for data_speed.json.")
@device_option()
def data(
    data: str, n: int, tokenizer: str, split: str, workers: int, cached: Path | None, out: Path | None, device: str | None
) -> None:
    """Reads and tokenises N pairs in alternating turns: images a second of each, their ratio, and peak memory."""
    from medim.data.dataset import load_dataset

    dataset = load_dataset(data)  # before the slow imports: a mistyped name is told at once
    import torch

    from benchmark.data_speed import measure
    from medim.checkpoints import resolve
    from medim.files import write_json
    from medim.tokenizers.image import ImageTokenizer

    images = ImageTokenizer.from_pretrained(resolve(tokenizer, "image_tokenizer"))
    images.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    found = measure(dataset, images, tokenizer, n, split=split, workers=workers, cache=cached)
    click.echo(found.table())
    if out is not None:
        write_json(out / "data_speed.json", found.as_dict())
        click.echo(f"figures: {out / 'data_speed.json'}")


def _unbuilt(part: str, what: str) -> click.Command:
    """A part that does nothing yet."""

    @click.command(
        part, short_help=f"Not built yet: measure {what}.", help=f"Will measure {what} beside what the machine could give."
    )
    @model_option(required=False)
    @out_option(required=False)
    @device_option()
    @set_option()
    def command(model: str | None, out: object, device: str | None, overrides: dict[str, str]) -> None:
        not_built(f"speed {part}", f"it will measure {what} beside what the machine could give")

    return command


for _part, _what in (("train", "training"), ("sample", "sampling"), ("metrics", "scoring")):
    speed.add_command(_unbuilt(_part, _what))
