"""`medim-bench import`: checkpoints of other code as models of this project."""

from pathlib import Path
from typing import Annotated

import click

from benchmark import DONE
from benchmark.cli import NearestGroup
from benchmark.options import FOLDER, Option, with_options
from medim.released import SIZE, TERMS

_TOKENIZER = "LLaMA-2's tokenizer: a folder or a hub id."
_VQGAN = "Chameleon's image tokenizer: the folder with vqgan.yaml and vqgan.ckpt."
_HEAD = "Dimensions of an attention head.  [default: those of config.json in DIR, else 256]"


@click.group("import", cls=NearestGroup, short_help="Turn another project's checkpoint into a model folder.")
def import_() -> None:
    """Turns a checkpoint that other code wrote into an ordinary model folder."""


@import_.command(short_help="The checkpoint that the authors of MeDiM released.")
@click.argument("folder", metavar="DIR", type=FOLDER)
@with_options
def released(
    folder: Path,
    tokenizer: Annotated[str, Option(_TOKENIZER, metavar="LLAMA")],
    vqgan: Annotated[Path, Option(_VQGAN, metavar="DIR", type=FOLDER)],
    out: Annotated[Path, Option("Folder for the model; it must not exist, or be empty.", metavar="DIR", type=FOLDER)],
    head_dim: Annotated[int | None, Option(_HEAD, low=1)] = None,
    size_text: Annotated[str, Option("What stands before every report.", metavar="TEXT")] = SIZE,
    terms: Annotated[str, Option("Terms of the data that it learned from.", metavar="TEXT")] = TERMS,
) -> int:
    """Imports the released checkpoint: DIR holds model.safetensors, its shards with their index, or pytorch_model.bin.

    Every convention of the released code is kept: gates, one time for both modalities, positions of the logits, the size text,
    padding that attention does not see, tokens and the padding of pictures, the sampler. See docs/released.md.
    """
    from medim.released.importing import import_released

    model = import_released(folder, tokenizer, vqgan, out, head_dim=head_dim, size=size_text, terms=terms)
    config, count = model.config, sum(value.numel() for value in model.state_dict().values())
    click.echo(
        f"{count / 1e6:,.1f} M parameters: {config.backbone['num_hidden_layers']} blocks of width "
        f"{config.backbone['hidden_size']}, {config.text_vocabulary} text ids, {config.image_codes} image codes; an image is "
        f"{config.image_length} tokens, a report {config.report_length}"
    )
    click.echo(f"model: {out}")
    return DONE
