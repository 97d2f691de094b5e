"""`python -m tests.campaigns.chaos`: kills commands at random times, starts them together, and gives them bad circumstances.

Prints a table; the exit status is 1 where anything was lost, left over or told badly.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.campaigns.chaos.circumstances import CIRCUMSTANCES, SkippedError
from tests.campaigns.chaos.kills import Row, kill_and_continue, ten_adds_at_once, twice_at_once, unkilled
from tests.campaigns.chaos.world import COMMANDS, World


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=64, help="in all, shared out to the commands")
    parser.add_argument("--seconds", type=float, default=3000, help="after which no further kill is begun")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="commands by their folders, and circumstances, separated by commas; `none` for neither")
    parser.add_argument("--keep", type=Path, help="work in this folder, new or of an earlier campaign, and leave it")
    asked = parser.parse_args()
    if asked.keep is not None:
        return campaign(World(asked.keep.resolve()), asked)
    with tempfile.TemporaryDirectory(prefix="medim-chaos-") as folder:
        return campaign(World(Path(folder).resolve() / "world"), asked)


def campaign(world: World, asked: argparse.Namespace) -> int:
    begun, rng = time.monotonic(), random.Random(asked.seed)
    until = begun + asked.seconds
    only = None if asked.only is None else asked.only.split(",")
    chosen = [command for command in COMMANDS if only is None or command.out in only]
    rows = []
    print(f"{'command or circumstance':40} kills equal not equal seconds", flush=True)
    for command in COMMANDS:
        span = unkilled(world, command)
        if command in chosen:
            kills = asked.kills // len(chosen) + (chosen.index(command) < asked.kills % len(chosen))
            rows.append(told(kill_and_continue(world, command, span, kills, rng, until)))
            rows.append(told(twice_at_once(world, command)))
    if only is None or "ten" in only:
        rows.append(told(ten_adds_at_once(world)))
    for circumstance in CIRCUMSTANCES:
        if only is None or circumstance.__name__ in only:
            rows.append(told(_under(world, circumstance)))
    faults = sum(len(row.faults) for row in rows)
    print(
        f"total: {sum(row.kills for row in rows)} kills, {faults} faults, {time.monotonic() - begun:.0f} s, seed {asked.seed}"
    )
    return 1 if faults else 0


def _under(world: World, circumstance: Callable[[World], Iterator[str]]) -> Row:
    row, begun = Row(circumstance.__name__.replace("_", " ")), time.monotonic()
    try:
        for fault in circumstance(world):
            row.faults.append(fault)
            print(f"    {fault}", flush=True)
    except SkippedError as skipped:
        row.skipped = str(skipped)
    row.seconds = time.monotonic() - begun
    return row


def told(row: Row) -> Row:
    state = f"skipped: {row.skipped}" if row.skipped else "FAILED" if row.faults else "ok"
    print(f"{row.name:40} {row.kills:5} {row.equal:5} {row.unequal:9} {row.seconds:7.0f}  {state}", flush=True)
    for fault in row.faults[:20]:
        print(f"    {fault}", flush=True)
    return row


if __name__ == "__main__":
    sys.exit(main())
