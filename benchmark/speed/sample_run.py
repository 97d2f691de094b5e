"""`medim-bench speed sample`, from its options to its files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from benchmark import DONE, WITH_FAILURES
from benchmark.results.provenance import command_line, commit
from benchmark.run.artifacts import Artifacts
from benchmark.run.cache import SharedCache, cache_folder
from benchmark.run.data import Data
from benchmark.run.generation import FAILURES, Failure, write_failures
from benchmark.speed.sample import Bench, line_of, measure_sampler
from benchmark.speed.sample_baselines import against_released, lines_of, released_of
from benchmark.speed.sample_results import FIGURES, PARETO, TABLE, write_results
from benchmark.speed.sweeps import Sweep
from benchmark.systems import DTYPE, checkers_that_steer, open_pipeline
from medim.common.errors import UserError
from medim.data.dataset import PairDataset
from medim.pipeline import MeDiMPipeline
from medim.sampling.settings import SamplerSettings
from tasks.cases import cases_of


def run_sample_speed(
    model: str,
    dataset: PairDataset,
    sweep: Sweep,
    out: Path,
    *,
    split: str,
    n: int,
    seed: int,
    batch_size: int,
    bf16: bool,
    device: str | None,
    overrides: Mapping[str, str],
    cache: str | None,
    overwrite: bool,
    baselines: bool = False,
    margin: float = 0.02,
    rounds: int = 3,
) -> int:
    """Draws and scores every sampler of the sweep and writes the results; returns the exit status.

    Args:
        baselines: compares the model's own sampler with the released procedure (`benchmark.speed.sample_baselines`) too, at
            `margin`, in so many `rounds` of timing.

    Raises:
        UserError: unknown model, setting or split, or an `out` of another configuration.
    """
    if DTYPE in overrides:
        raise UserError("speed sample takes --dtype, not --set dtype")
    pipeline = open_pipeline(model, device, overrides, dataset)
    own = pipeline.sampler
    samplers = sweep.settings(own)
    _steer(pipeline, samplers, dataset)
    theirs = released_of(pipeline) if baselines else None  # what it cannot do is told before anything is drawn
    where = pipeline.model.device.type if device is None else device
    cases = cases_of(dataset, split, pipeline.resolution, n)
    folder = cache_folder(cache, dataset)
    data = Data(
        dataset, split, pipeline.resolution, cases, seed, where, cache=None if folder is None else SharedCache(folder)
    )  # fmt: skip
    about = {
        "title": sweep.title, "model": pipeline.name, "model_fingerprint": pipeline.fingerprint, "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint, "split": split, "n": len(cases), "seed": seed, "batch_size": batch_size,
        "dtype": "bf16" if bf16 else "fp32", "device": where, "sweep": sweep.model_dump(mode="json"),
        "own": own.to_dict(), "margin": margin,
    }  # fmt: skip
    failures: list[Failure] = []
    with Artifacts.claim(out, about, overwrite) as artifacts:
        bench = Bench(data, artifacts, batch_size, where, bf16)
        bench.warm_up(pipeline)
        rows = []
        for name, settings in samplers.items():
            pipeline.sampler = settings
            row, failed = measure_sampler(bench, name, pipeline, sweep.tasks)
            failures += failed
            if row is not None:
                rows.append(row)
                click.echo(line_of(row))
        found: dict[str, Any] | None = None
        if theirs is not None:
            pipeline.sampler = own
            name = next((name for name, settings in samplers.items() if settings == own), "baseline own")
            found, failed = against_released(bench, pipeline, name, theirs, sweep.tasks, rounds, margin)
            failures += failed
            click.echo("\n".join(lines_of(found)))
        write_failures(out / FAILURES, failures)
        write_results(out, rows, cases, {**about, "released": found, "commit": commit(), "command": command_line()})
    click.echo(f"figures: {out / FIGURES}, {out / TABLE}" + (f", {out / PARETO}" if (out / PARETO).exists() else ""))
    return WITH_FAILURES if failures else DONE


def _steer(pipeline: MeDiMPipeline, samplers: Mapping[str, SamplerSettings], dataset: PairDataset) -> None:
    """Names the checkers that steer, where some sampler of the sweep asks for them."""
    if pipeline.steering is None and any(sampler.steering.asked for sampler in samplers.values()):
        pipeline.steer(*checkers_that_steer(dataset))
