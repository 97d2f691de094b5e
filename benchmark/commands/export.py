"""`medim-bench export`: generated or existing pairs, through a gate, in the form that another project trains on."""

import click

from benchmark.export.options import ExportOptions
from benchmark.options import with_options


@click.command(short_help="Write generated or existing pairs, through a gate, in another project's format.")
@with_options
def export(options: ExportOptions) -> int:
    """Writes pairs that pass the gate into --out, with a data card: (--model M --n N | --pairs DIR) --data D --format F.

    Every pair carries its seed, prompt, model hash, the agreement of its findings, its likelihood and its distance from the
    nearest training image. Near-copies of training images do not leave; gate/gate.json and gate/dropped.jsonl list what was
    dropped and why. A dropped pair is drawn anew, so that exactly N unique pairs leave.

    Several processes share the work: start them by accelerate or torchrun, start the same command several times, or give
    each machine its --shard I/N and let a last one without --shard finish. The same command again continues.

    \b
    --allow near-copies   near-copies of training images leave, too
    --allow credentialed  data under credentialed or restricting terms may leave
    --allow unscreened    no training images are searched
    """
    from benchmark.export.command import export_from_options

    return export_from_options(options)
