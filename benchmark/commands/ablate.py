"""`medim-bench ablate`: the same training with one choice changed at a time."""

import click

from benchmark.ablation.options import AblateOptions
from benchmark.options import refuse_others, with_options


@click.command(short_help="Compare design choices, one at a time: the paper's Table 4 and more.")
@with_options
def ablate(options: AblateOptions) -> int:
    """Trains a recipe with one choice changed at a time, over seeds, and says what each choice is worth.

    The primary endpoint is the bound on -log p(image, report) of validation pairs under noise that is the same for all arms;
    its difference to the arm that each is compared with has a 95 % interval over patients and seeds. Then the columns
    of the paper's Table 4 on test cases. --out gets ablation.md, .csv, .json, curves.png, tornado.png, grid.png, records.jsonl.

    DIR/ARM/seed-N is a folder as `train model` writes it, with its log.txt. The same command again continues. With other --arms
    or --seeds these are trained beside what is there; the tables hold the arms and seeds of the last command.

    --checkpoint DIR --data D prints the bound of one trained model as it is, with the causal mask on, with the timestep held
    and with it off.
    """
    if options.checkpoint is not None:
        refuse_others("ablate --checkpoint", ("checkpoint", "data", "eval_pairs", "draws", "device"))
        from benchmark.ablation.likelihood import quick_check
        from benchmark.ablation.plan import Evaluation

        quick_check(options.checkpoint, options.data, Evaluation(options.eval_pairs, options.draws), options.device)
        return 0
    from benchmark.ablation.ablate import execute_ablation

    return execute_ablation(options)
