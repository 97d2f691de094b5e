"""The samples of one trained arm, through the same run as any other model's, for the columns of the paper's Table 4."""

from pathlib import Path

from benchmark.ablation.plan import Job
from benchmark.run.runner import run
from benchmark.systems import SAMPLING, open_pipeline
from medim.data.dataset import PairDataset

TASKS = ("report-generation", "image-generation", "joint-generation")


def generate(job: Job, dataset: PairDataset, out: Path, cache: Path) -> int:
    """Runs the tasks with the arm's name; returns how many samples failed. All arms have one sampler and one seed a seed.

    Args:
        cache: of all arms: the anchors and the references' features are made once.
    """
    assert job.generation is not None
    asked = job.generation
    settings = {SAMPLING + key: value for key, value in asked.sampling.items()}
    pipeline = open_pipeline(str(job.folder), job.device, settings, dataset)
    pipeline.name = job.arm
    result = run(
        pipeline, dataset, TASKS, out, resolution=pipeline.resolution, split=asked.split, limit=asked.limit, seed=job.seed,
        batch_size=asked.batch_size, device=job.device, cache=cache, command=job.command or None,
    )  # fmt: skip
    return len(result.failures)
