"""A model's own sampler against what others do with the same weights: time in alternating turns, worth on the same cases.

ratio        their seconds a pair / ours, the median over rounds of neighbouring turns
difference   our score less theirs, sample by sample of equal seeds; its 95 % interval by bootstrap over cases
non-inferior where the whole interval lies above minus the margin, which the command line states
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from tqdm import tqdm

from benchmark.generation import Failure
from benchmark.released_sampling import PublicPractice, Released
from benchmark.sample_speed import Bench
from benchmark.sample_speed_scores import HEADLINES
from medim.pipeline import MeDiMPipeline
from tasks.metrics.paired import System, compare_all, verdict
from tasks.metrics.statistics import too_few
from tasks.task import Score

PAIRS = "joint-generation"
SINGLES = 2
"""Pairs that a turn of the released procedure draws, one by one."""


@dataclass(frozen=True)
class Baseline:
    """Others' way.

    Attributes:
        what: in a few words.
        one_by_one: timed at batch 1, as its authors run it; no sample depends on its batch, so for its worth it is drawn in
            batches.
    """

    name: str
    what: str
    system: MeDiMPipeline
    one_by_one: bool


def baselines_of(own: MeDiMPipeline) -> list[Baseline]:
    """Both baselines on a pipeline's weights, with its present sampler."""
    return [
        Baseline("released", "128 steps, guidance by a second forward at each, full logits, batch 1", Released(own), True),
        Baseline(
            "public practice",
            "our sampler, full logits, nothing cached, decisions on the host, our batch",
            PublicPractice(own),
            False,
        ),
    ]


def time_in_turns(bench: Bench, own: MeDiMPipeline, baselines: Sequence[Baseline], rounds: int) -> list[dict[str, float]]:
    """Seconds a pair of `own` and of each baseline in every round; rounds that an earlier command timed are kept."""
    inputs = {"settings": own.settings(), "batch_size": bench.batch_size, "turns": [b.system.settings() for b in baselines]}
    done: list[dict[str, float]] = list(bench.artifacts.get("turns", inputs) or [])[:rounds]
    order = [baselines[0], None, *baselines[1:]]  # ours stands beside both
    for _ in tqdm(range(len(done), rounds), desc="turns", unit="round", initial=len(done), total=rounds):
        seconds = {}
        for one in order:
            seconds["own" if one is None else one.name] = _turn(bench, own if one is None else one.system, one)
        done.append(seconds)
        bench.artifacts.put("turns", inputs, done)
    return done


def _turn(bench: Bench, system: MeDiMPipeline, baseline: Baseline | None) -> float:
    """Seconds a pair."""
    cases = bench.data.cases[: bench.batch_size]
    one_by_one = baseline is not None and baseline.one_by_one
    batches = [[case] for case in cases[:SINGLES]] if one_by_one else [cases]
    started = time.perf_counter()
    for batch in batches:
        bench.generate(PAIRS, system, batch, list(range(len(batch))))
    return (time.perf_counter() - started) / sum(map(len, batches))


def compare(bench: Bench, ours: Mapping[str, Score], theirs: Mapping[str, Score], task: str, margin: float) -> dict[str, Any]:
    """Ours less theirs in the task's headline, as JSON-able figures."""
    metric = HEADLINES[task]
    a, b = ours[metric].additive, theirs[metric].additive
    found: dict[str, Any] = {"metric": metric, "ours": ours[metric].value, "theirs": theirs[metric].value, "margin": margin}
    few = None if a is None else too_few(a.patients)
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


def against_baselines(
    bench: Bench,
    own: MeDiMPipeline,
    name: str,
    baselines: Sequence[Baseline],
    tasks: Sequence[str],
    rounds: int,
    margin: float,
) -> tuple[list[dict[str, Any]], list[Failure]]:
    """A row for each baseline: `name`, `what`, `ratio`, `ratios`, `pairs_per_second` of both, `worth` of each task.

    Args:
        name: under which the samples of `own` are kept.
    """
    failures: list[Failure] = []
    turns = time_in_turns(bench, own, baselines, rounds)
    rows: list[dict[str, Any]] = []
    for one in baselines:
        ratios = [turn[one.name] / turn["own"] for turn in turns]
        rates = {who: 1 / median(turn[who] for turn in turns) for who in ("own", one.name)}
        timed = f"{SINGLES} pairs, one by one" if one.one_by_one else f"a batch of {bench.batch_size}"
        row: dict[str, Any] = {
            "name": one.name, "what": one.what, "ratio": median(ratios), "ratios": ratios, "rounds": rounds, "timed": timed,
            "batch": bench.batch_size, "pairs_per_second": rates, "worth": {},
        }  # fmt: skip
        for task in tasks:
            mine, missing = bench.draw(task, name, own)
            store, failed = bench.draw(task, f"baseline {one.name}", one.system)
            failures += missing + failed
            if missing or failed:
                continue
            row["worth"][task] = compare(bench, bench.scores(task, mine), bench.scores(task, store), task, margin)
            costs = [sum(s.lines[id]["cost"]["flops"] for id in bench.data.ids) for s in (mine, store)]
            row["worth"][task]["flops_ratio"] = costs[1] / costs[0]
        rows.append(row)
    return rows, failures


def lines_of(row: Mapping[str, Any]) -> list[str]:
    """A baseline's row in lines."""
    rate = row["pairs_per_second"]
    lines = [
        f"against {row['name']} ({row['what']}):",
        f"  {rate['own']:.2f} pairs/s against {rate[row['name']]:.3f}: {row['ratio']:.1f} x as fast, median of {row['rounds']} "
        f"rounds {min(row['ratios']):.1f} to {max(row['ratios']):.1f} ({row['timed']})",
    ]
    for task, worth in row["worth"].items():
        head = f"  {task}: {worth['flops_ratio']:.1f} x fewer FLOPs; {worth['metric']}"
        if worth["difference"] is None:
            lines.append(f"{head} not compared: {worth['reason']}")
            continue
        stands = "non-inferior" if worth["non_inferior"] else "not shown to be non-inferior"
        lines.append(
            f"{head} {worth['ours']:.3f} against {worth['theirs']:.3f}, {worth['difference']:+.3f} "
            f"[{worth['low']:+.3f}, {worth['high']:+.3f}]: {stands} at margin {worth['margin']:g} (n = {worth['n']}; "
            f"drawn in batches of {row['batch']})"
        )
    return lines
