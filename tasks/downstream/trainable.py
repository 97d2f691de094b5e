"""From a configuration to a trained model in a folder, and back: what all downstream models do alike."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from medim.common.claims import claim
from medim.common.errors import UserError, named
from medim.common.files import hash_files, hash_of, read_mapping, write_json, writes_into
from medim.weights.files import read_tensors
from medim.weights.loading import fill
from tasks.downstream.contract import Example, Fitted
from tasks.downstream.training_loop import CHECKPOINT, WEIGHTS, Learner, Material, Pictures, Recipe, fit_network, seeded

RUN, MODEL = "run.json", "model.json"

N = TypeVar("N", bound=Learner)


class Trainable(ABC, Generic[N]):
    """A downstream model of one architecture (`tasks.downstream.contract.Downstream`).
    `side`: of the images that the network is shown, in pixels."""

    def __init__(self, name: str, side: int, recipe: Recipe, device: str) -> None:
        self.name, self.side, self.recipe, self.device = name, side, recipe, device

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """JSON-able: the architecture, its sizes and what it starts from."""

    @abstractmethod
    def read(self, train: Sequence[Example], validation: Sequence[Example]) -> dict[str, Any]:
        """What has to be known of the examples before training (a vocabulary, labels), JSON-able."""

    @abstractmethod
    def targets(self, examples: Sequence[Example], known: Mapping[str, Any]) -> torch.Tensor:
        """What the network learns of each example, (N, ...)."""

    @abstractmethod
    def network(self, known: Mapping[str, Any]) -> N:
        """The network before training; torch's global generator is seeded for it."""

    @abstractmethod
    def fitted(self, network: N, known: Mapping[str, Any], fingerprint: str, settings: Mapping[str, Any]) -> Fitted:
        """The trained model around a trained network in evaluation mode."""

    def fit(
        self,
        train: Sequence[Example],
        validation: Sequence[Example],
        *,
        steps: int,
        seed: int,
        out: Path,
        augment: bool = False,
        evaluate_every: int | None = None,
    ) -> Any:
        """See `tasks.downstream.contract.Downstream.fit`."""
        if not train or not validation:
            raise UserError(f"{self.name}: no {'training' if not train else 'validation'} examples")
        if steps < 1 or (evaluate_every is not None and evaluate_every < 1):
            raise UserError(f"{self.name}: steps and evaluate_every must be at least 1, not {steps} and {evaluate_every}")
        out = Path(out)
        length: dict[str, Any] = {"steps": steps, "seed": seed, "augment": augment, "evaluate_every": evaluate_every}
        sets = {"train": train, "validation": validation}
        hashes = {name: {"n": len(examples), "hash": hash_of_examples(examples)} for name, examples in sets.items()}
        run = {**self._configuration(), **length, **hashes}
        claim(out, out / RUN, run, "a training", None, "remove it")
        if not (out / MODEL).is_file():
            known = self.read(train, validation)
            with seeded(self.device, seed, 0):
                network = self.network(known)
            shown, held_out = (Material(Pictures(some, self.side), self.targets(some, known)) for some in (train, validation))
            with writes_into(out):
                reached = fit_network(
                    network, shown, held_out, self.recipe, **length, out=out, device=self.device, title=self.name
                )
            parameters = sum(parameter.numel() for parameter in network.parameters())
            write_json(out / MODEL, {**run, "known": known, "reached": reached, "parameters": parameters})
            (out / CHECKPOINT).unlink(missing_ok=True)
        return self.open(out)

    def open(self, out: Path) -> Any:
        """What `fit` left in a folder. Raises UserError: it holds no finished training of this model, or damaged files."""
        if not (out / MODEL).is_file():
            raise UserError(f"'{out / MODEL}' is missing: no finished training of {self.name}")
        model = read_mapping(out / MODEL)
        damaged = f"'{out}' holds no whole model of {self.name}"
        try:
            known, configuration = model["known"], {key: model[key] for key in ("model", "recipe")}
            if configuration != json.loads(json.dumps(self._configuration())):
                raise UserError(f"{out / MODEL}: the model of another configuration than {self.name}'s")
            with seeded(self.device, 0):  # what is drawn is overwritten
                network = self.network(known)
        except (ValueError, KeyError, RuntimeError) as error:
            raise UserError(f"{damaged}: {str(error).strip().splitlines()[0]}") from error
        with named(damaged):
            fill(network, read_tensors(out / WEIGHTS), WEIGHTS)
        settings = {key: value for key, value in model.items() if key not in ("known", "reached")}
        settings |= {key: model["reached"][key] for key in ("best_step", "validation_loss")}
        fingerprint = hash_of([hash_files(out / WEIGHTS), known, model["model"]])
        return self.fitted(network.to(self.device).eval(), known, fingerprint, settings)

    def _configuration(self) -> dict[str, Any]:
        return {"model": {"name": self.name, "side": self.side, **self.describe()}, "recipe": asdict(self.recipe)}


def hash_of_examples(examples: Sequence[Example]) -> str:
    """Hash over ids, texts, labels and images, in order; of an image in a file its name and size stand for it."""
    rows = []
    for example in examples:
        if isinstance(example.image, Path):
            if not example.image.is_file():
                raise UserError(f"image '{example.image}' of '{example.id}' does not exist")
            image = [example.image.name, example.image.stat().st_size]
        else:
            image = [example.image.size, hash_of(example.image.tobytes().hex())]
        labels = None if example.findings is None else sorted(example.findings)
        rows.append([example.id, example.report, labels, image])
    return hash_of(rows)
