"""Samplers of one model side by side: how fast they are here, what they compute, and what their samples are worth.

    samples/s      1 / median over samples of a batch's wall time by its samples: decoding, image tokenizer and all
    FLOPs          of the denoiser's matrix products, from its shapes (`medim.sampling.cost`)
    share of roof  FLOPs a second over those of one large matrix product in the same type, timed just before the sampler

The model's own sampler against the released procedure on the same weights:

    ratio          their seconds a sample / ours, the median over rounds of neighbouring turns: at their batch of 1, and at ours
    difference     our score less theirs, sample by sample of equal seeds; its 95 % interval by bootstrap over cases
    non-inferior   where the whole interval lies above minus the margin, which the command line states

Each sampler's samples are stored as they are drawn and its figures once it is scored, so a killed command goes on where it was.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any

import torch
from tqdm import tqdm

from benchmark.provenance import commit
from benchmark.run.artifacts import Artifacts
from benchmark.run.data import Data
from benchmark.run.generation import Failure, generate_missing
from benchmark.run.predictions import PredictionStore
from benchmark.speed.train import ROOF_SIDE, matmul_seconds
from medim.common.errors import UserError
from medim.common.files import file_name
from medim.pipeline import MeDiMPipeline
from medim.sampling.decoder import refuse
from medim.sampling.settings import SamplerSettings
from tasks import task_named
from tasks.generation.joint.agreement import AGREEMENT, agreement_scores
from tasks.generation.joint.task import domain_scores
from tasks.metrics.statistics.paired import System, compare_all, verdict
from tasks.protocols import Cases, Prediction
from tasks.scoring.findings import MACRO_F1, Reading, finding_scores
from tasks.scoring.scores import Score, Scorer, aligned, coverage_of, images_of, reports_of

HEADLINES = {"joint-generation": AGREEMENT, "image-generation": MACRO_F1, "report-generation": MACRO_F1}
"""The score of each task that samplers are compared by: an F1 each."""
KEPT = ("joint agreement", "finding MCC", "macro finding F1", "max ", "domain ")  # scores that stand in the table begin so
RELEASED = "released"
SAMPLER = SamplerSettings(procedure="released")
SINGLES = 2  # samples that a turn at batch 1 draws
WAYS = {"batch 1": "as its authors run it", "equal batch": "as we run ours"}
Turns = dict[str, dict[str, float]]  # seconds a sample of one round, by task and by `own` and `WAYS`


@dataclass(frozen=True)
class Bench:
    """One model's samplers on one split."""

    data: Data  # the cases, and what scores them
    artifacts: Artifacts  # of the command's folder
    batch_size: int  # samples drawn at once
    device: str
    bf16: bool = False  # run the denoiser in bfloat16, by autocast

    def draw(self, task: str, name: str, system: MeDiMPipeline) -> tuple[PredictionStore, list[Failure]]:
        """Every sample that is not there yet. Of one case the seed is the same in all samplers."""
        store = PredictionStore(self.artifacts.out / "samples" / task / file_name(name), commit=commit())
        failures = generate_missing(
            store,
            self.data.cases,
            partial(self.generate, task, system),
            task=task,
            system=name,
            seed=self.data.seed,
            batch_size=self.batch_size,
        )
        return store, failures

    def generate(self, task: str, system: MeDiMPipeline, cases: Cases, seeds: Sequence[int]) -> list[Prediction]:
        """One batch, in the type that was chosen."""
        with torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=self.bf16):
            return task_named(task).generate(system, cases, list(seeds)[: len(cases)])

    def scores(self, task: str, store: PredictionStore) -> dict[str, Score]:
        """By metric, what the checkers that score can read: agreement, MCC, prevalences and domains of pairs; finding F1 of
        images or reports."""
        cases, context = self.data.cases, self.data.context
        predictions = aligned(cases, store.predictions(self.data.ids))
        images, reports = images_of(cases, predictions), reports_of(predictions)
        if task == "joint-generation":
            both = [(image is not None and report is not None) or None for image, report in zip(images, reports, strict=True)]
            coverage = coverage_of(both)
            score = Scorer(context, len(cases), coverage)
            scores, _ = agreement_scores(cases, images, reports, score)
            scores += domain_scores(cases, images, reports, score)
        else:
            shown: Sequence[Any] = images if task == "image-generation" else reports
            reading = Reading.of("image" if task == "image-generation" else "report", shown, context)
            scores, _ = finding_scores(cases, reading, context, coverage_of(shown))
        return {score.metric: score for score in scores}

    def roof(self) -> float:
        """FLOP/s of a large matrix product, now."""
        return 2 * ROOF_SIDE**3 / matmul_seconds(self.device, self.bf16)


def speed_of(costs: Sequence[Mapping[str, float]], tokens: int, roof: float) -> dict[str, float]:
    """Figures of one sampler from the costs of its samples. `tokens`: generated for each sample. `roof`: FLOP/s."""
    seconds = median(cost["seconds"] for cost in costs)
    flops, computed, forwards = (
        sum(cost[key] for cost in costs) / len(costs) for key in ("flops", "active_tokens", "forwards")
    )
    return {
        "samples_per_second": 1 / seconds,
        "tokens_per_second": tokens / seconds,
        "seconds_per_sample": seconds,
        "flops_per_sample": flops,
        "forwards": forwards,
        "active_tokens": computed,
        "roof_share": flops / seconds / roof,
    }


def measure_sampler(
    bench: Bench, name: str, system: MeDiMPipeline, tasks: Sequence[str]
) -> tuple[dict[str, Any] | None, list[Failure]]:
    """A sampler's row, as `OUT/stages/sampler-NAME.json` keeps it; None, and the failures, where a sample failed. The row:
    `name`, `settings`, `roof` (FLOP/s), and for each task `speed` (`speed_of`) and `scores`: value, low, high, reason."""
    stage, inputs = f"sampler-{file_name(name)}", {"settings": system.settings(), "tasks": tasks, **bench.data.inputs}
    present = bench.artifacts.get(stage, inputs)
    if present is not None:
        return dict(present), []
    row: dict[str, Any] = {"name": name, "settings": system.settings(), "roof": bench.roof(), "tasks": {}}
    for task in tasks:
        store, failures = bench.draw(task, name, system)
        if failures:
            return None, failures
        costs = [store.lines[id]["cost"] for id in bench.data.ids]
        row["tasks"][task] = {
            "speed": speed_of(costs, generated_tokens(system, task), row["roof"]),
            "scores": {m: _plain(score) for m, score in bench.scores(task, store).items() if m.startswith(KEPT)},
        }
    bench.artifacts.put(stage, inputs, row)
    return row, []


def generated_tokens(system: MeDiMPipeline, task: str) -> int:
    """Tokens that a task's sample has generated."""
    layout = system.model.config.layout
    image, report = layout.image_length, layout.report_length
    return {"joint-generation": image + report, "image-generation": image, "report-generation": report}[task]


def line_of(row: Mapping[str, Any]) -> str:
    """A sampler's row in a line for each task."""
    lines = []
    for task, found in row["tasks"].items():
        speed, score = found["speed"], found["scores"][HEADLINES[task]]
        worth = "withheld" if score["value"] is None else f"{score['value']:.3f}"
        lines.append(
            f"{row['name']:<22}{task:<18}{speed['samples_per_second']:8.2f} samples/s{speed['tokens_per_second']:9.0f} tokens/s"
            f"{speed['flops_per_sample'] / 1e9:9.2f} GFLOP a sample{speed['roof_share']:7.1%} of the roof"
            f"   {HEADLINES[task]} {worth}"
        )
    return "\n".join(lines)


def _plain(score: Score) -> dict[str, Any]:
    return {"value": score.value, "low": score.ci_low, "high": score.ci_high, "reason": score.reason}


def released_of(own: MeDiMPipeline) -> MeDiMPipeline:
    """The released procedure on a pipeline's weights. Raises UserError: the model has no mask."""
    try:
        refuse(own.model, SAMPLER)
    except UserError as error:
        raise UserError(f"--baselines: model '{own.name}': {error}") from error
    return MeDiMPipeline(own.model, own.images, own.reports, SAMPLER, own.name, own.fingerprint)


def time_in_turns(bench: Bench, own: MeDiMPipeline, theirs: MeDiMPipeline, tasks: Sequence[str], rounds: int) -> list[Turns]:
    """Rounds of turns, ours between theirs; rounds that an earlier command timed are used again."""
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
        "difference": difference.value,
        "low": low,
        "high": difference.interval.high,
        "p": difference.p,
        "test": difference.test,
        "n": difference.patients,
        "non_inferior": low is not None and low > -margin,
        "verdict": verdict(difference, difference.p, True, margin),
    }


def against_released(
    bench: Bench, own: MeDiMPipeline, name: str, theirs: MeDiMPipeline, tasks: Sequence[str], rounds: int, margin: float
) -> tuple[dict[str, Any], list[Failure]]:
    """By task `ratio`, `ratios` and `samples_per_second` by `WAYS`, `flops_ratio` and `worth` (`compare`), and what failed.
    The FLOPs of a sample are the same at every batch. For their worth samples are drawn in batches: none depends on its batch.
    `name`: under which the samples of `own` are stored."""
    failures: list[Failure] = []
    turns = time_in_turns(bench, own, theirs, tasks, rounds)
    found: dict[str, Any] = {}
    for task in tasks:
        rates = {who: 1 / median(turn[task][who] for turn in turns) for who in ("own", *WAYS)}
        ratios = {way: [turn[task][way] / turn[task]["own"] for turn in turns] for way in WAYS}
        ratio = {way: median(several) for way, several in ratios.items()}
        found[task] = {"samples_per_second": rates, "ratios": ratios, "ratio": ratio}
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
