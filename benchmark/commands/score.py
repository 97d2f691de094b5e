"""`medim-bench score`: tasks on predictions that another system made."""

from pathlib import Path
from typing import Any

import click

from benchmark.commands.options import (
    cache_option,
    data_option,
    device_option,
    features_option,
    judge_option,
    limit_option,
    out_option,
    overwrite_option,
    protocol_option,
    refuse_others,
    resolution_option,
    seed_option,
    show_samples_option,
)
from medim.common.errors import UserError


@click.command(short_help="Score and rank a folder of another system's predictions.")
@click.argument("tasks", nargs=-1, metavar="TASK...")
@click.option(
    "--predictions", metavar="DIR", type=click.Path(path_type=Path),
    help="Folder with predictions.jsonl, or with files <id>.png and <id>.txt.",
)  # fmt: skip
@click.option("--model", metavar="NAME|DIR|HUB-ID", help="Of grounding alone: a model that answers by its likelihoods.")
@data_option(required=False, help="What the predictions answer: a data set, or a folder with pairs.jsonl or reports.jsonl.")
@out_option(required=False)
@click.option("--name", help="The system's name in the table.  [default: the folder's]")
@click.option("--split", default="test", show_default=True, help="Split to score on.")
@limit_option()
@seed_option()
@resolution_option()
@protocol_option()
@features_option()
@judge_option()
@device_option()
@show_samples_option()
@cache_option()
@overwrite_option()
@click.pass_context
def score(
    ctx: click.Context,
    tasks: tuple[str, ...],
    predictions: Path | None,
    model: str | None,
    data: str | None,
    out: Path | None,
    name: str | None,
    split: str,
    limit: int | None,
    seed: int,
    resolution: int | None,
    protocol: str | None,
    features: tuple[str, ...],
    judge: Path | None,
    device: str | None,
    show_samples: bool,
    cache: str | None,
    overwrite: bool,
) -> None:
    """Scores DIR exactly as `run` scores a model: same metrics, anchors, records and page. TASK is as for `run`.

    DIR/predictions.jsonl has one {"id", "image" (path inside DIR) and/or "report"} a line; without it, files <id>.png and
    <id>.txt are read (a run's own samples folder will do, too). Ids are those of the data set's cases: an unknown one is a
    mistake, a missing one counts as an empty answer. Samples for joint-generation and memorisation answer no case: any ids will
    do, and --limit says how many.

    With a folder of reports.jsonl as --data, reports are scored where the images cannot be had.

    \b
    score grounding --data EXPORT (--predictions FILE | --model M) --out DIR
        EXPORT is of `export --twins`; FILE has {"id", "choice": 0 or 1} or {"id", "scores": [a, b]} a line
    """
    if "grounding" in tasks:
        if len(tasks) > 1 or (predictions is None) == (model is None) or data is None or out is None:
            raise UserError("score grounding stands alone and needs --data EXPORT, --out, and --predictions FILE or --model M")
        refuse_others(ctx, "score grounding", ("tasks", "predictions", "model", "data", "out", "device", "overwrite"))
        from benchmark.run.execute import execute_grounding

        ctx.exit(execute_grounding(Path(data), out, predictions, model, device, overwrite))
    if model is not None:
        raise UserError("score takes --predictions; --model is for score grounding")
    for what, value in (("a TASK", tasks), ("--predictions", predictions), ("--data", data), ("--out", out)):
        if not value:
            raise UserError(f"score needs {what}")
    assert predictions is not None
    assert data is not None
    assert out is not None
    from benchmark.run.execute import execute_score

    shared: dict[str, Any] = {"protocol": protocol, "features": features or None, "judge": judge}
    ctx.exit(
        execute_score(
            tasks, predictions, data, out, name=name, device=device, overwrite=overwrite, show_samples=show_samples,
            resolution=resolution, cache=cache, split=split, limit=limit, seed=seed,
            **{key: value for key, value in shared.items() if value is not None},
        )
    )  # fmt: skip
