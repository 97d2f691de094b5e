"""`medim-bench run`: tasks, from generating to the built page."""

import click

from benchmark.options import with_options
from benchmark.run.options import RunOptions
from medim.common.errors import unknown
from tasks import AUGMENTATION, task_names


@click.command(short_help="Generate, score and rank a model on tasks.")
@click.argument("tasks", nargs=-1, metavar="TASK...")
@with_options
def run(options: RunOptions) -> int:
    """Generates with --model for the test cases of --data, scores it beside its anchors, and builds the page in --out.

    TASK is {tasks}, or "all" for what the model can do of these but the last.

    memorisation draws unprompted pairs and looks for each in the whole training split, which is read once and then stored in
    --cache; --data NAME:train=10% searches a tenth of it.

    long-form reads reports sentence by sentence: contradictions, repetition, findings by where they are stated, length.

    fine-detail draws phantoms with one lesion of each size and contrast (--data phantom or phantom-v2), and looks for it as
    drawn, after the tokenizer's round trip, and in what is generated from the report that states it.

    augmentation trains a downstream model with and without pairs that --model generates for a low-data set (--data D:train=1%,
    or the share of the preset), in arms with controls; it stands alone in its --out.

    What --model cannot do is refused, and under "all" skipped with the reason. The same command again continues what was
    interrupted and generates nothing twice; another model on the same cases finds the anchors and the references' features
    in --cache.

    \b
    baseline:nearest-neighbour  the report (image) of the training case nearest by image (by report)
    baseline:training-copy      a training pair verbatim: the ceiling of memorisation
    baseline:shuffled           image and report of two training cases
    baseline:constant           one training pair for everything
    """
    known = [*task_names(), AUGMENTATION, "all"]
    for task in options.tasks:
        if task not in known:
            raise unknown("task", task, known)
    if AUGMENTATION in options.tasks or (options.preset, options.regime, options.downstream) != (None, None, None):
        from benchmark.augmentation.augment import execute_augmentation

        return execute_augmentation(options)
    from benchmark.run.command import execute_run

    return execute_run(options)


run.help = str(run.help).replace("{tasks}", ", ".join([*task_names(), AUGMENTATION]))
