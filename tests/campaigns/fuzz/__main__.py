"""`python -m tests.campaigns.fuzz`: mutants of every file that the commands read, each accepted rightly or refused in one line.

Prints a table; the exit status is 1 where a mutant was neither. `--only NAME --first N --mutants 1` tries one again.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from transformers.utils.logging import disable_progress_bar

from medim.common.errors import UserError
from tests.campaigns.fuzz.guard import prepare, watched
from tests.campaigns.fuzz.mutants import mutant
from tests.campaigns.fuzz.targets import Target, targets

SHOWN = 8


@dataclass
class Tally:
    """What became of the mutants of a target; `faults` by their text, with the first mutant that had each."""

    accepted: int = 0
    refused: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def fault(self, text: str, where: str) -> None:
        self.faults[text] += 1
        self.first.setdefault(text, where)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=300, help="of each kind of file")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="kinds of files, separated by commas")
    asked = parser.parse_args()
    begun, faults, mutants = time.monotonic(), 0, 0
    with tempfile.TemporaryDirectory(prefix="medim-fuzz-") as folder:
        chosen = [one for one in targets(Path(folder)) if asked.only is None or one.file.name in asked.only.split(",")]
        disable_progress_bar()
        prepare()
        print(f"{'file':20} mutants accepted refused faults  seconds")
        for target in chosen:
            tally = fuzz(target, Path(folder), range(asked.first, asked.first + asked.mutants), asked.seed)
            number = tally.accepted + tally.refused
            found = sum(tally.faults.values())
            print(
                f"{target.file.name:20} {number:7} {tally.accepted:8} {tally.refused:7} {found:6} {tally.seconds:8.1f}",
                flush=True,
            )
            for text, count in tally.faults.most_common(SHOWN):
                print(f"    {count} x {text}\n        first: {tally.first[text]}", flush=True)
            faults, mutants = faults + found, mutants + number
    print(f"total: {mutants} mutants, {faults} faults, {time.monotonic() - begun:.0f} s, seed {asked.seed}")
    return 1 if faults else 0


def fuzz(target: Target, folder: Path, numbers: range, seed: int) -> Tally:
    """Tries what was not mutated, which must be accepted, then the mutants of these numbers."""
    tally, begun = Tally(), time.monotonic()
    sound = ("\n".join(map(json.dumps, target.base)) + "\n").encode()
    if not tried(target, folder, sound, tally, "not mutated"):
        tally.fault("refused", "not mutated")
    for number in numbers:
        what, data = mutant(target.base, random.Random(f"{seed} {target.file.name} {number}"))
        accepted = tried(target, folder, data, tally, f"mutant {number} ({what})")
        tally.accepted, tally.refused = tally.accepted + accepted, tally.refused + (not accepted)
    target.file.write_bytes(sound)
    tally.seconds = time.monotonic() - begun
    return tally


def tried(target: Target, folder: Path, data: bytes, tally: Tally, name: str) -> bool:
    """Whether a file of these bytes is accepted; what is wrong with that goes into the tally."""
    target.file.write_bytes(data)
    before = _files(folder)
    read, refusal, faults = watched(lambda: target.read(target.file), UserError)
    if _files(folder) != before:
        faults.append("files were added or removed")
    if accepted := refusal is None and not faults:
        try:
            wrong = target.wrong(read, target.file, target.stated(data))
        except (ValueError, RecursionError) as error:
            wrong = f"something, though a strict reader says: {str(error)[:120]}"
        faults += [] if wrong is None else [f"accepted as {wrong}"]
    for fault in faults:
        tally.fault(fault.replace(str(folder), ""), name)
    return accepted


def _files(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


if __name__ == "__main__":
    sys.exit(main())
