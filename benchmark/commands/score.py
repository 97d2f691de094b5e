"""`medim-bench score`: tasks on predictions that another system made."""

import click

from benchmark.options import refuse_others, with_options
from benchmark.run.options import ScoreOptions
from medim.common.errors import UserError

GROUNDING = ("tasks", "predictions", "model", "data", "out", "device", "overwrite")
"""What `score grounding` reads."""


@click.command(short_help="Score and rank a folder of another system's predictions.")
@click.argument("tasks", nargs=-1, metavar="TASK...")
@with_options
def score(options: ScoreOptions) -> int:
    """Scores DIR exactly as `run` scores a model: same metrics, anchors, records and page. TASK is as for `run`.

    DIR/predictions.jsonl has one {"id", "image" (path inside DIR) and/or "report"} a line; without it, files <id>.png and
    <id>.txt are read (a run's own samples folder will do, too). FILE is CSV, TSV, JSON, JSON lines or Parquet, in our form or
    that of LLaVA, R2Gen, lmms-eval, lm-evaluation-harness, COCO captions and others, or of any fields with --map. Ids are those
    of the data set's cases: an unknown one is a mistake, a missing one counts as an empty answer. Samples for joint-generation
    and memorisation answer no case: any ids will do, and --limit says how many.

    With a folder of reports.jsonl as --data, reports are scored where the images cannot be had, and with --reference images.

    \b
    score grounding --data EXPORT (--predictions FILE | --model M) --out DIR
        EXPORT is of `export --twins`; FILE has {"id", "choice": 0 or 1} or {"id", "scores": [a, b]} a line
    """
    if "grounding" in options.tasks:
        one = (options.predictions is None) != (options.model is None)
        if len(options.tasks) > 1 or not one or options.data is None or options.out is None:
            raise UserError("score grounding stands alone and needs --data EXPORT, --out, and --predictions FILE or --model M")
        refuse_others("score grounding", GROUNDING)
        from benchmark.export.grounding import execute_grounding

        return execute_grounding(options)
    from benchmark.run.command import execute_score

    return execute_score(options)
