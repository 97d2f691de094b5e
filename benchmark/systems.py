"""What `--model` means: a trained model, an adapter of another library's, a baseline, or a generator of another package."""

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from medim.common.errors import UserError
from medim.data.dataset import Checker, PairDataset
from tasks.protocols import Answered, Generator

if TYPE_CHECKING:
    from medim.pipeline import MeDiMPipeline

ENTRY_POINTS = "medim.generators"
SAMPLING, DTYPE = "sampling.", "dtype"
NEEDED = ("name", "fingerprint", "settings", "generate_images", "generate_reports", "generate_pairs")
Factory = Callable[[str | None, str, Mapping[str, str]], Generator]
"""What an entry point names: (argument after the colon or None, device, settings of --set) -> Generator."""


def open_model(
    name: str,
    device: str | None,
    overrides: Mapping[str, str],
    dataset: PairDataset | None = None,
    features: Path | None = None,
) -> Generator:
    """The system that `--model` names, with the settings of `--set` applied.

    `diffusers:PATH-or-hub-id` · `transformers:PATH-or-hub-id` · `baseline:NAME` · `NAME[:ARGUMENT]` of an entry point of the
    group `medim.generators` · else a preset with shipped weights, a folder or a hub id of a trained model.

    Args:
        dataset: what a baseline draws on.
        features: folder where its image features outlive the run; None for none.

    Raises:
        UserError: an unknown system or setting, missing or damaged weights.
    """
    kind, colon, argument = name.partition(":")
    if kind in ("diffusers", "transformers", "baseline") and not argument:
        example = "baseline:nearest-neighbour" if kind == "baseline" else f"{kind}:FOLDER-or-hub-id"
        raise UserError(f"--model {name} needs more: {example}")
    if kind == "diffusers" and colon:
        from tasks.adapters.diffusers_text_to_image import DiffusersTextToImage

        return DiffusersTextToImage.from_pretrained(argument, best_device(device), overrides)
    if kind == "transformers" and colon:
        from tasks.adapters.transformers_image_to_text import TransformersImageToText

        return TransformersImageToText.from_pretrained(argument, best_device(device), overrides)
    if kind == "baseline" and colon:
        if dataset is None:
            raise UserError(f"--model {name} draws on a data set: it serves `run`, with --data")
        from tasks.baselines.systems import open_baseline

        return open_baseline(argument, dataset, best_device(device), overrides, features)
    registered = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    if kind in registered:
        return _from_entry_point(kind, registered[kind].load(), argument or None, best_device(device), overrides)
    return open_pipeline(name, device, overrides, dataset)


def open_pipeline(
    name: str, device: str | None, overrides: Mapping[str, str], dataset: PairDataset | None = None
) -> "MeDiMPipeline":
    """The pipeline of a preset, folder or hub id, with the overrides `sampling.*` and `dtype` (of the weights) applied.

    Args:
        dataset: whose checkers steer, where `sampling.steering` asks for it.

    Raises:
        UserError: unknown model or setting, missing or damaged weights, or nothing that steers where that is asked for.
    """
    sampling = {key.removeprefix(SAMPLING): value for key, value in overrides.items() if key.startswith(SAMPLING)}
    for key in overrides:
        if key != DTYPE and not key.startswith(SAMPLING):
            raise UserError(f"--set {key}: a trained model takes dtype and sampler settings, such as {SAMPLING}image.steps=32")
    from medim.pipeline import MeDiMPipeline
    from tasks.adapters.adapter import dtype_of

    pipeline = MeDiMPipeline.from_pretrained(name, device=device, dtype=dtype_of(overrides.get(DTYPE, "float32")))
    if sampling:
        pipeline.configure(sampling)
    if pipeline.steered:
        if dataset is None:
            raise UserError(f"--model {name} with {SAMPLING}steering needs --data: a set whose checkers steer, such as phantom")
        pipeline.steer(*checkers_that_steer(dataset))
    return pipeline


def checkers_that_steer(dataset: PairDataset) -> tuple[Checker, Checker]:
    """The data set's checkers of images and of reports that may steer a sampler.

    Raises:
        UserError: it lacks one of them.
    """
    from benchmark.export.gate import steering_checkers

    images, reports = steering_checkers(dataset)
    if images is None or reports is None:
        raise UserError(f"data set '{dataset.name}' has no checkers that steer: {SAMPLING}steering.* cannot be used with it")
    return images, reports


def _from_entry_point(
    name: str, factory: Factory, argument: str | None, device: str, overrides: Mapping[str, str]
) -> Generator:
    system = factory(argument, device, overrides)
    check_generator(system, f"generator '{name}' of the group {ENTRY_POINTS}")
    return system


def check_generator(system: object, what: str) -> None:
    """Raises a UserError that names what an object lacks to be a `Generator`; an `Answered` one passes."""
    missing = [] if isinstance(system, Answered) else [part for part in NEEDED if not hasattr(system, part)]
    if missing:
        raise UserError(f"{what} is no generator: it lacks {', '.join(missing)} (tasks/protocols.py says what each is)")


def best_device(device: str | None) -> str:
    """The device that is asked for, else the GPU where there is one; a UserError where there is no such device."""
    from medim.devices import chosen_device

    return str(chosen_device(device))
