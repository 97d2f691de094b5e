"""One arm with one seed, in a separate process: train, evaluate, generate; whatever is done already is not done again.
The job comes as one line of JSON (`benchmark.ablation.plan.Job`) on the standard input. When that ends, the parent is gone or
wants to stop: the training saves a checkpoint and ends."""

import os
import shlex
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from benchmark import DONE, INTERRUPTED, STOPPED, WITH_FAILURES
from benchmark.ablation.plan import CACHE, RUN, Job, train_command
from medim.common.errors import UserError, plain
from medim.common.locks import LOCK, held, locked
from medim.data.dataset import PairDataset
from medim.data.loading import load_dataset

JOB_LOCK = ".job.lock"  # the training within has another
TASKS = ("report-generation", "image-generation", "joint-generation")  # the columns of the paper's Table 4


def carry_out(job: Job) -> int:
    """Does what is missing of a job; returns the exit status (3 where single samples could not be generated). Raises UserError:
    a mistake in recipe, data or folder, or another process at work on it. Raises KeyboardInterrupt: the same job continues."""
    dataset = load_dataset(job.data)
    missing = job.missing(dataset.fingerprint)
    if not missing:
        return DONE
    with held(job.folder, JOB_LOCK):
        cache = job.out / CACHE
        if "training" in missing:
            from medim.training.train import train_model  # lazy: start-up

            share_tokens(job, dataset, cache)
            train_model(job.preset, dataset, job.folder, overrides=job.settings, device=job.device)
        if "evaluation" in missing:
            from benchmark.ablation.likelihood import evaluate  # lazy: start-up

            evaluate(job.folder, dataset, job.evaluation, cache, job.device)
            job.mark("evaluation")
        if "generation" in missing:
            job.begin_generation()
            if generate(job, dataset, cache):
                return WITH_FAILURES
            job.mark("generation")
    return DONE


def share_tokens(job: Job, dataset: PairDataset, cache: Path) -> None:
    """Tokenises what the training needs into the cache of all arms, and lets the training find it there."""
    from medim.checkpoints import resolve  # lazy: start-up
    from medim.data.tokens.cache import tokenise_split  # lazy: start-up
    from medim.devices import chosen_device  # lazy: start-up
    from medim.tokenizers.image import ImageTokenizer  # lazy: start-up
    from medim.training.train import report_tokenizer  # lazy: start-up

    place = job.folder / CACHE
    recipe = job.recipe()
    if place.exists() or recipe.image_tokenizer is None:  # train_model names what is missing
        return
    with locked(cache / LOCK):
        images = ImageTokenizer.from_pretrained(resolve(recipe.image_tokenizer, "image_tokenizer"))
        images.to(chosen_device(job.device))
        reports = report_tokenizer(recipe, dataset)
        tokenise_split(dataset, "train", images, reports, cache, recipe.train_limit)
        tokenise_split(dataset, "val", images, reports, cache, recipe.eval_pairs)
    place.unlink(missing_ok=True)  # a link whose cache was removed
    place.symlink_to(os.path.relpath(cache, job.folder))


def generate(job: Job, dataset: PairDataset, cache: Path) -> int:
    """Runs `TASKS` under the arm's name, as for any other model; returns how many samples failed.
    All arms have one sampler, the seed of their training, and one cache of anchors and of the references' features."""
    from benchmark.run.runner import run  # lazy: start-up
    from benchmark.systems import SAMPLING, open_pipeline  # lazy: start-up

    wanted = job.generation
    assert wanted is not None
    pipeline = open_pipeline(
        str(job.folder), job.device, {SAMPLING + key: value for key, value in wanted.sampling.items()}, dataset
    )
    pipeline.name = job.arm
    options: dict[str, Any] = {"split": wanted.split, "limit": wanted.limit, "batch_size": wanted.batch_size, "seed": job.seed}
    options |= {"device": job.device, "cache": cache, "command": job.command or None}
    result = run(pipeline, dataset, TASKS, job.folder / RUN, resolution=pipeline.resolution, **options)
    return len(result.failures)


def main() -> int:
    """Reads the job, does it, and turns mistakes into one line and an exit status."""
    job = Job.from_json(sys.stdin.readline())

    def stop_with_parent() -> None:
        sys.stdin.read()
        os.kill(os.getpid(), signal.SIGINT)

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background hands down a signal that is ignored
    threading.Thread(target=stop_with_parent, daemon=True).start()
    print(f"# {shlex.join(train_command(job))}", flush=True)
    try:
        return carry_out(job)
    except KeyboardInterrupt:
        print("interrupted; the same command continues", file=sys.stderr)
        return INTERRUPTED
    except (UserError, OSError) as error:
        print(f"error: {plain(str(error))}", file=sys.stderr)
        return STOPPED


if __name__ == "__main__":
    sys.exit(main())
