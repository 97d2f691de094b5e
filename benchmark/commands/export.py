"""`medim-bench export`: generated or existing pairs, through a gate, in the form that another project trains on."""

from pathlib import Path

import click

from benchmark.commands.options import (
    NearestChoice,
    cache_option,
    data_option,
    device_option,
    features_option,
    model_option,
    out_option,
    overwrite_option,
    seed_option,
    set_option,
)
from medim.common.errors import UserError

FORMATS = ("folder", "huggingface", "llava", "parquet", "r2gen", "webdataset")
ALLOWANCES = ("credentialed", "near-copies", "unscreened")


@click.command(short_help="Write generated or existing pairs, through a gate, in another project's format.")
@model_option(required=False, help="What generates the pairs; with --pairs, what tells their likelihood.")
@click.option("--n", type=click.IntRange(min=1), help="Unique pairs that --model generates.")
@click.option("--pairs", metavar="NAME|DIR", help="Pairs to convert in place of generating: anything that --data takes.")
@data_option(
    required=False, help="The set that --model was trained on: its training images are searched, its terms go with the pairs."
)
@click.option("--format", "format_", type=NearestChoice("format", FORMATS), help="The form to write.")
@click.option(
    "--twins", is_flag=True, help="N couples of pairs that differ in one finding, by the editor, and grounding.jsonl that asks."
)
@click.option(
    "--prompts", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="YAML: templates such as 'A {modality} of the {region}', and a list for each placeholder; all equally often.",
)  # fmt: skip
@out_option(required=False)
@click.option("--min-agreement", type=click.FloatRange(0, 1), help="Drop pairs whose image and report share fewer findings.")
@click.option("--max-nats", type=float, help="Drop pairs that the model finds less likely: nats of image and report together.")
@click.option(
    "--min-distance", type=click.FloatRange(min=0),
    help="Drop pairs nearer to a training image, in units of the near-copy threshold.  [default: 1]",
)  # fmt: skip
@click.option(
    "--allow", multiple=True, type=NearestChoice("allowance", ALLOWANCES),
    help="Force by name what is refused otherwise; repeatable.",
)  # fmt: skip
@click.option("--attempts", default=8, show_default=True, type=click.IntRange(min=1), help="Tries for each of the n pairs.")
@click.option("--draws", default=8, show_default=True, type=click.IntRange(min=0), help="Of noise, for a likelihood; 0: none.")
@features_option()
@click.option("--shard-size", default=512, show_default=True, type=click.IntRange(min=1), help="Pairs of a shard.")
@click.option("--shard", metavar="I/N", help="This process takes the I-th of N parts.  [default: RANK of WORLD_SIZE, if set]")
@seed_option()
@click.option("--batch-size", default=64, show_default=True, type=click.IntRange(min=1), help="Pairs drawn at once.")
@device_option()
@set_option("Override a setting of the model, such as sampling.image.steps=32 or dtype=bfloat16; repeatable.")
@cache_option()
@overwrite_option()
@click.pass_context
def export(
    ctx: click.Context,
    model: str | None,
    n: int | None,
    pairs: str | None,
    data: str | None,
    format_: str | None,
    twins: bool,
    prompts: Path | None,
    out: Path | None,
    min_agreement: float | None,
    max_nats: float | None,
    min_distance: float | None,
    allow: tuple[str, ...],
    attempts: int,
    draws: int,
    features: tuple[str, ...],
    shard_size: int,
    shard: str | None,
    seed: int,
    batch_size: int,
    device: str | None,
    overrides: dict[str, str],
    cache: str | None,
    overwrite: bool,
) -> None:
    """Writes pairs that pass the gate into --out, with a data card: (--model M --n N | --pairs DIR) --data D --format F.

    Every pair carries its seed, prompt, model hash, the agreement of its findings, its likelihood and its distance from the
    nearest training image. Near-copies of training images do not leave; gate/gate.json and gate/dropped.jsonl tell what was
    dropped and why. A dropped pair is drawn anew, so that exactly N unique pairs leave.

    Several processes share the work: start them by accelerate or torchrun, start the same command several times, or give
    each machine its --shard I/N and let a last one without --shard finish. The same command again continues.

    \b
    --allow near-copies   near-copies of training images leave, too
    --allow credentialed  data under credentialed or restricting terms may leave
    --allow unscreened    no training images are searched
    """
    if format_ is None or out is None:
        raise UserError("export needs --format F and --out DIR")
    from benchmark.export.execute import Asked, execute_export

    asked = Asked(
        model,
        n,
        pairs,
        data,
        format_,
        allow,
        prompts,
        seed,
        attempts,
        draws,
        min_agreement,
        max_nats,
        min_distance,
        features,
        twins,
    )
    ctx.exit(
        execute_export(
            asked, out, batch_size=batch_size, shard_size=shard_size, shard=shard, device=device, overrides=overrides,
            cache=cache, overwrite=overwrite,
        )
    )  # fmt: skip
