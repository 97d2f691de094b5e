"""What `--model` means: a trained model, an adapter of another library's, a baseline, or a generator of another package.
Also what of the data goes with a model's samples: the checkers that may steer it, and the terms of use."""

import re
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from medim.checkpoints import resolve
from medim.common.errors import UserError
from medim.common.files import read_mapping
from medim.data.dataset import Checker, PairDataset, steering_checker
from medim.data.sources.squared import SquaredDataset
from medim.imaging.images import OURS, Geometry
from tasks.cases import Drawn, at_resolution, has_images, unwrapped
from tasks.protocols import Answered, Generator

if TYPE_CHECKING:
    from medim.pipeline import MeDiMPipeline

ENTRY_POINTS = "medim.generators"
BUILT_IN = (EntryPoint("mmada", "tasks.adapters.mmada.generator:mmada", ENTRY_POINTS),)
SAMPLING, DTYPE = "sampling.", "dtype"
NEEDED = ("name", "fingerprint", "settings", "generate_images", "generate_reports", "generate_pairs")
RESTRICTED = ("credentialed", "physionet", "data use agreement", "dua", "restricted")
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
    group `medim.generators` (built in: `mmada:PATH-or-hub-id`) · else a preset with shipped weights, a folder or a hub id of
    a trained model.
    `dataset`: what a baseline draws on.
    `features`: folder where its image features outlive the run; None for none.
    Raises UserError: an unknown system or setting, missing or damaged weights."""
    kind, _, argument = name.partition(":")
    if kind in ("diffusers", "transformers", "baseline") and not argument:
        example = "baseline:nearest-neighbour" if kind == "baseline" else f"{kind}:FOLDER-or-hub-id"
        raise UserError(f"--model {name} needs more: {example}")
    if kind == "diffusers":
        from tasks.adapters.diffusers_text_to_image import DiffusersTextToImage  # lazy: start-up

        return DiffusersTextToImage.from_pretrained(argument, best_device(device), overrides)
    if kind == "transformers":
        from tasks.adapters.transformers_image_to_text import TransformersImageToText  # lazy: start-up

        return TransformersImageToText.from_pretrained(argument, best_device(device), overrides)
    if kind == "baseline":
        if dataset is None:
            raise UserError(f"--model {name} draws on a data set: it serves `run`, with --data")
        from tasks.baselines.systems import open_baseline  # lazy: start-up

        return open_baseline(argument, dataset, best_device(device), overrides, features)
    registered = {entry.name: entry for entry in (*BUILT_IN, *entry_points(group=ENTRY_POINTS))}
    if kind in registered:
        factory: Factory = registered[kind].load()
        system = factory(argument or None, best_device(device), overrides)
        check_generator(system, f"generator '{kind}' of the group {ENTRY_POINTS}")
        return system
    return open_pipeline(name, device, overrides, dataset)


def open_pipeline(
    name: str, device: str | None, overrides: Mapping[str, str], dataset: PairDataset | None = None
) -> "MeDiMPipeline":
    """The pipeline of a preset, folder or hub id, with the overrides `sampling.*` and `dtype` (of the weights) applied.
    `dataset`: whose checkers steer, where `sampling.steering` needs them.
    Raises UserError: unknown model or setting, missing or damaged weights, or nothing that steers where that is needed."""
    sampling = {key.removeprefix(SAMPLING): value for key, value in overrides.items() if key.startswith(SAMPLING)}
    for key in overrides:
        if key != DTYPE and not key.startswith(SAMPLING):
            raise UserError(f"--set {key}: a trained model takes dtype and sampler settings, such as {SAMPLING}image.steps=32")
    from medim.pipeline import MeDiMPipeline  # lazy: start-up
    from tasks.adapters.adapter import dtype_of  # lazy: start-up

    pipeline = MeDiMPipeline.from_pretrained(name, device=device, dtype=dtype_of(overrides.get(DTYPE, "float32")))
    if sampling:
        pipeline.configure(sampling)
    if pipeline.steered:
        if dataset is None:
            raise UserError(f"--model {name} with {SAMPLING}steering needs --data: a set whose checkers steer, such as phantom")
        pipeline.steer(*checkers_that_steer(dataset))
    return pipeline


def checkers_that_steer(dataset: PairDataset) -> tuple[Checker, Checker]:
    """The data set's checkers of images and of reports that may steer a sampler. Raises UserError: it lacks one of them."""
    images, reports = steering_checkers(dataset)
    if images is None or reports is None:
        raise UserError(f"data set '{dataset.name}' has no checkers that steer: {SAMPLING}steering.* cannot be used with it")
    return images, reports


@runtime_checkable
class HasResolution(Protocol):
    """A system that is shown, or draws, images of one size."""

    @property
    def resolution(self) -> int | None: ...


@runtime_checkable
class HasGeometry(Protocol):
    """A system of whose training it is known how pictures became squares."""

    resolution: int

    @property
    def geometry(self) -> Geometry: ...


def as_shown_to(system: object, dataset: PairDataset) -> PairDataset:
    """The data set with its pictures as squares in the system's geometry, where that is not ours; drawn ones are squares."""
    if not isinstance(system, HasGeometry) or system.geometry == OURS or not has_images(dataset):
        return dataset
    drawn = at_resolution(dataset, system.resolution)
    return dataset if isinstance(unwrapped(dataset), Drawn) else SquaredDataset(drawn, system.geometry, system.resolution)


def steering_checkers(dataset: PairDataset) -> tuple[Checker | None, Checker | None]:
    """The checker of images that steers and the checker of reports; None, None where the data set lacks one of them."""
    images, reports = steering_checker(dataset), dataset.report_checker()
    return (None, None) if images is None or reports is None else (images, reports)


def check_generator(system: object, what: str) -> None:
    """Raises a UserError that names what an object lacks to be a `Generator`; an `Answered` one passes."""
    missing = [] if isinstance(system, Answered) else [part for part in NEEDED if not hasattr(system, part)]
    if missing:
        raise UserError(f"{what} is no generator: it lacks {', '.join(missing)} (tasks/protocols.py says what each is)")


def best_device(device: str | None) -> str:
    """The device as given, else the GPU where there is one. Raises UserError: there is no such device."""
    from medim.devices import chosen_device  # lazy: start-up

    return str(chosen_device(device))


def withheld(terms: str) -> bool:
    """Whether images and reports of data under these terms stay out of pages, galleries and exports.

    The marks are whole words, alone or in the plural, in any case, with any punctuation.

    >>> withheld("PhysioNet Credentialed Health Data License 1.5.0"), withheld("CC BY 4.0")
    (True, False)
    """
    words = re.sub(r"[\W_]+", " ", terms.lower())
    return re.search(rf"\b({'|'.join(RESTRICTED)})s?\b", words) is not None


def joined(*terms: str | None) -> str:
    """Each of the terms once, as one text.

    >>> joined("CC BY 4.0; CC0-1.0", None, "CC0-1.0")
    'CC BY 4.0; CC0-1.0'
    """
    return "; ".join(dict.fromkeys(part for text in terms if text is not None for part in text.split("; ")))


def model_terms(name: str) -> str | None:
    """The terms of the data that the trained model `name` learned from; None where it states none, or is of another kind."""
    try:
        card = resolve(name) / "training.json"
    except UserError:  # an adapter, a baseline, a generator of another package; `open_model` knows whether it is none of these
        return None
    return read_mapping(card).get("terms") if card.is_file() else None
