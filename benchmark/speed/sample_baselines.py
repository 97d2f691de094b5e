"""A model's own sampler against the released procedure on the same weights: time in alternating turns, worth on the same cases.

ratio        their seconds a sample / ours, the median over rounds of neighbouring turns: at their batch of 1, and at ours
difference   our score less theirs, sample by sample of equal seeds; its 95 % interval by bootstrap over cases
non-inferior where the whole interval lies above minus the margin, which the command line states
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from tqdm import tqdm

from benchmark.run.generation import Failure
from benchmark.speed.sample import Bench
from benchmark.speed.sample_scores import HEADLINES
from medim.common.errors import UserError
from medim.pipeline import MeDiMPipeline
from medim.sampling.decoder import refuse
from medim.sampling.settings import SamplerSettings
from tasks.metrics.statistics.paired import System, compare_all, verdict
from tasks.scoring.scores import Score

RELEASED = "released"
SAMPLER = SamplerSettings(procedure="released")
SINGLES = 2
"""Samples that a turn at batch 1 draws."""
WAYS = {"batch 1": "as its authors run it", "equal batch": "as we run ours"}


def released_of(own: MeDiMPipeline) -> MeDiMPipeline:
    """The released procedure on a pipeline's weights. Raises UserError: the model has no mask."""
    try:
        refuse(own.model, SAMPLER)
    except UserError as error:
        raise UserError(f"--baselines: model '{own.name}': {error}") from error
    return MeDiMPipeline(own.model, own.images, own.reports, SAMPLER, own.name, own.fingerprint)


Turns = dict[str, dict[str, float]]
"""Seconds a sample of one round, by task and by `own` and `WAYS`."""


def time_in_turns(bench: Bench, own: MeDiMPipeline, theirs: MeDiMPipeline, tasks: Sequence[str], rounds: int) -> list[Turns]:
    """Rounds of turns, ours between theirs; rounds that an earlier command timed are kept."""
    inputs = {"own": own.settings(), RELEASED: theirs.settings(), "batch_size": bench.batch_size, "tasks": tasks}
    done: list[Turns] = list(bench.artifacts.get("turns", inputs) or [])[:rounds]
    for _ in tqdm(range(len(done), rounds), desc="turns", unit="round", initial=len(done), total=rounds):
        turns = {}
        for task in tasks:
            turns[task] = {
                "batch 1": _turn(bench, task, theirs, SINGLES, 1),
                "own": _turn(bench, task, own, bench.batch_size, bench.batch_size),
                "equal batch": _turn(bench, task, theirs, bench.batch_size, bench.batch_size),
            }
        done.append(turns)
        bench.artifacts.put("turns", inputs, done)
    return done


def _turn(bench: Bench, task: str, system: MeDiMPipeline, count: int, at_once: int) -> float:
    """Seconds a sample."""
    cases = bench.data.cases[:count]
    started = time.perf_counter()
    for start in range(0, len(cases), at_once):
        batch = cases[start : start + at_once]
        bench.generate(task, system, batch, list(range(start, start + len(batch))))
    return (time.perf_counter() - started) / len(cases)


def compare(bench: Bench, ours: Mapping[str, Score], theirs: Mapping[str, Score], task: str, margin: float) -> dict[str, Any]:
    """Ours less theirs in the task's headline, as JSON-able figures."""
    metric = HEADLINES[task]
    a, b = ours[metric].additive, theirs[metric].additive
    found: dict[str, Any] = {"metric": metric, "ours": ours[metric].value, "theirs": theirs[metric].value, "margin": margin}
    few = None if a is None else a.few()
    if a is None or b is None or few is not None:
        reason = ours[metric].reason or theirs[metric].reason if few is None else few.reason
        return found | {"difference": None, "non_inferior": None, "reason": reason}
    both = {"ours": System([replace(a, paired=True)]), "theirs": System([replace(b, paired=True)])}  # row i: one seed and case
    difference = compare_all(both, bench.data.seed)["ours", "theirs"]
    low = difference.interval.low
    return found | {
        "difference": difference.value, "low": low, "high": difference.interval.high, "p": difference.p,
        "test": difference.test, "n": difference.patients, "non_inferior": low is not None and low > -margin,
        "verdict": verdict(difference, difference.p, True, margin),
    }  # fmt: skip


def against_released(
    bench: Bench, own: MeDiMPipeline, name: str, theirs: MeDiMPipeline, tasks: Sequence[str], rounds: int, margin: float
) -> tuple[dict[str, Any], list[Failure]]:
    """By task `ratio`, `ratios` and `samples_per_second` by `WAYS`, `flops_ratio` and `worth` (`compare`), and what failed.

    The FLOPs of a sample are the same at every batch. For their worth samples are drawn in batches: none depends on its batch.

    Args:
        name: under which the samples of `own` are kept.
    """
    failures: list[Failure] = []
    turns = time_in_turns(bench, own, theirs, tasks, rounds)
    found: dict[str, Any] = {}
    for task in tasks:
        rates = {who: 1 / median(turn[task][who] for turn in turns) for who in ("own", *WAYS)}
        ratios = {way: [turn[task][way] / turn[task]["own"] for turn in turns] for way in WAYS}
        found[task] = {
            "samples_per_second": rates, "ratios": ratios, "ratio": {way: median(several) for way, several in ratios.items()}
        }  # fmt: skip
        mine, missing = bench.draw(task, name, own)
        store, failed = bench.draw(task, f"baseline {RELEASED}", theirs)
        failures += missing + failed
        if not (missing or failed):
            costs = [sum(s.lines[id]["cost"]["flops"] for id in bench.data.ids) for s in (mine, store)]
            found[task]["flops_ratio"] = costs[1] / costs[0]
            found[task]["worth"] = compare(bench, bench.scores(task, mine), bench.scores(task, store), task, margin)
    row = {"settings": theirs.settings(), "rounds": rounds, "batch": bench.batch_size, "singles": SINGLES, "tasks": found}
    return row, failures


def lines_of(row: Mapping[str, Any]) -> list[str]:
    """The row in lines."""
    lines = [f"against the released procedure on the same weights, median of {row['rounds']} rounds:"]
    for task, found in row["tasks"].items():
        rate, ratio = found["samples_per_second"], found["ratio"]
        for way, what in WAYS.items():
            several, size = found["ratios"][way], 1 if way == "batch 1" else row["batch"]
            lines.append(
                f"  {task}: {rate['own']:.2f} samples/s against {rate[way]:.3f} at {way} ({size}, {what}): "
                f"{ratio[way]:.1f} x as fast, {min(several):.1f} to {max(several):.1f}"
            )
        if "worth" not in found:
            continue
        worth = found["worth"]
        head = f"  {task}: {found['flops_ratio']:.1f} x fewer FLOPs; {worth['metric']}"
        if worth["difference"] is None:
            lines.append(f"{head} not compared: {worth['reason']}")
            continue
        stands = "non-inferior" if worth["non_inferior"] else "not shown to be non-inferior"
        lines.append(
            f"{head} {worth['ours']:.3f} against {worth['theirs']:.3f}, {worth['difference']:+.3f} "
            f"[{worth['low']:+.3f}, {worth['high']:+.3f}]: {stands} at margin {worth['margin']:g} (n = {worth['n']})"
        )
    return lines
