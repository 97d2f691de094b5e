"""An ablation as records for a leaderboard: each arm's likelihood by seed, and its change against its base."""

from collections.abc import Sequence
from typing import Any

from benchmark.ablation.comparison import Row
from benchmark.ablation.plan import Plan
from benchmark.ablation.stored import Measured
from benchmark.results.provenance import command_line, commit, now, versions
from benchmark.systems import withheld
from leaderboard.record import Record
from medim.common.files import hash_of
from medim.data.dataset import PairDataset
from tasks.ablation import ENDPOINTS, PRIMARY, SEED
from tasks.protocols import PROTOCOL

TASK = "ablation"


def manifest_of(plan: Plan, measured: Sequence[Measured], dataset: PairDataset, recipe: dict[str, Any]) -> dict[str, Any]:
    """`manifest.json`: what was run on what, by which code."""
    trained = {f"{one.arm.name} seed {seed}": each for one in measured for seed, each in one.seeds.items()}
    models = {name: each.evaluation["model_fingerprint"] for name, each in trained.items()}
    tokenizers = {
        part: sorted({each.evaluation[part] for each in trained.values()}) for part in ("image_tokenizer", "report_tokenizer")
    }
    job = plan.jobs[0]
    settings = {"evaluation": vars(job.evaluation), "generation": None if job.generation is None else vars(job.generation)}
    identity = {"models": models, "data": dataset.fingerprint, "settings": settings}
    return {
        "run": hash_of(identity), "model": "ablation", "model_fingerprint": hash_of(models), "models": models,
        "dataset": dataset.name, "dataset_fingerprint": dataset.fingerprint, "split": job.evaluation.split,
        "synthetic": dataset.synthetic, "terms": dataset.terms, "withhold_samples": withheld(dataset.terms), "tasks": [TASK],
        "command": command_line(), "commit": commit(), "created": now(), "versions": versions(), "settings": settings,
        "tokenizers": tokenizers, "preset": job.preset, "recipe": recipe, "arms": [arm.model_dump() for arm in plan.arms],
        "seeds": list(plan.seeds),
    }  # fmt: skip


def records_of(rows: Sequence[Row], measured: Sequence[Measured], manifest: dict[str, Any]) -> list[Record]:
    """A record for each arm, seed and endpoint, and one for each arm's change of the primary endpoint."""
    shared = {
        "task": TASK, "dataset": manifest["dataset"], "split": manifest["split"], "coverage": 1.0, "protocol": PROTOCOL,
        "kind": "measured", "commit": manifest["commit"], "command": manifest["command"], "created": manifest["created"],
        "higher_is_better": False, "synthetic": manifest["synthetic"], "run": manifest["run"],
    }  # fmt: skip
    result = []
    for one in measured:
        for seed, trained in one.seeds.items():
            evaluation = trained.evaluation
            signature = {
                "overrides": one.arm.overrides, "data": manifest["dataset_fingerprint"], "preset": trained.job.preset,
                "steps": evaluation["training"]["steps"], "model": evaluation["model_fingerprint"], **evaluation["settings"],
                **{part: evaluation[part] for part in ("image_tokenizer", "report_tokenizer", "truncated")},
            }  # fmt: skip
            for endpoint in ENDPOINTS:
                additive = endpoint.additive(evaluation)
                interval = additive.interval(SEED)
                result.append(Record(
                    model=one.arm.name, metric=endpoint.metric, value=additive.value(), ci_low=interval.low,
                    ci_high=interval.high, n=len(additive.sums), seed=seed, reason=interval.reason,
                    signature={"metric": endpoint.metric, "interval": additive.method, **signature}, **shared,
                ))  # fmt: skip
    for row in rows:
        found = row.changes.get(PRIMARY.metric)
        if found is not None:
            result.append(Record(
                model=row.arm.name, metric=f"change of {PRIMARY.metric}", value=found.difference, ci_low=found.interval.low,
                ci_high=found.interval.high, n=found.units, seed=found.seeds[0], reason=found.interval.reason,
                signature={
                    "metric": f"change of {PRIMARY.metric}", "base": row.arm.base, "seeds": list(found.seeds), "p": found.p,
                    "test": found.test, "verdict": found.verdict, "overrides": row.arm.overrides,
                }, **shared,
            ))  # fmt: skip
    return result
