"""A world of noise: pictures that no two cases share, a model that draws others, and checkers that read one finding."""

import time
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from benchmark.export.gate import Gate, NeighbourSearch, Rules
from benchmark.export.sources import Existing, Generated
from medim.pair import ImageReportPair
from tasks.scoring.context import Context

SIDE = 16


def noise(*seed: int) -> Image.Image:
    rng = np.random.default_rng(list(seed))
    return Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))


def odd(image: Image.Image) -> bool:
    return int(np.asarray(image)[0, 0, 0]) % 2 == 1


class OddChecker:
    labels = ("odd",)

    def __init__(self, name: str) -> None:
        self.name = self.fingerprint = name

    def __call__(self, items: Sequence) -> list[frozenset[str]]:
        found = [odd(item) if isinstance(item, Image.Image) else "odd" in item.split() for item in items]
        return [frozenset({"odd"}) if one else frozenset() for one in found]


class NoiseData:
    name, synthetic, terms, domains = "noise", False, "CC0-1.0", ("noise",)

    def __init__(self, train: int = 40, val: int = 60, test: int = 60, terms: str = "CC0-1.0") -> None:
        self.sizes = {"train": train, "val": val, "test": test}
        self.fingerprint, self.terms = f"n015e-{train}-{val}-{test}", terms

    def size(self, split: str) -> int:
        return self.sizes[split]

    def pair(self, split: str, index: int) -> ImageReportPair:
        image = noise(list(self.sizes).index(split), index)
        name = f"{split}.{index:02d}"
        report = f"the corner is {'odd' if odd(image) else 'even'} in case {index}, “seen” twice."
        return ImageReportPair(
            name,
            image,
            report,
            split,
            f"study {name}",
            f"patient {name}",
            domain="noise",
            findings=("odd",) if odd(image) else (),
            terms=self.terms,
            extra={"scanner": {"name": "none"}},
        )

    def image_checker(self) -> OddChecker:
        raise AssertionError("the checker that scores may not steer")

    def steering_image_checker(self) -> OddChecker:
        return OddChecker("steering")

    def report_checker(self) -> OddChecker:
        return OddChecker("reports")


class NoiseModel:
    """Draws noise of its seed, modulo `pool` where pairs are to repeat; `wrong` seeds mod 4 tell the opposite finding.

    Attributes:
        copies: calls (from 0) whose first pair is this picture.
        stops_after: calls, then KeyboardInterrupt.
    """

    name, fingerprint, resolution = "noise-model", "abc123", SIDE

    def __init__(self, pool: int | None = None, wrong: bool = False, delay: float = 0) -> None:
        self.pool, self.wrong, self.delay = pool, wrong, delay
        self.copies: dict[int, Image.Image] = {}
        self.stops_after: int | None = None
        self.broken: set[int] = set()
        self.calls, self.prompts = 0, []

    def settings(self) -> dict:
        return {"pool": self.pool}

    def generate_images(self, reports, *, seeds):
        raise NotImplementedError

    def generate_reports(self, images, *, seeds):
        raise NotImplementedError

    def generate_pairs(self, prompts: Sequence[str], *, seeds: Sequence[int]) -> list[tuple[Image.Image, str]]:
        if self.stops_after is not None and self.calls >= self.stops_after:
            raise KeyboardInterrupt
        if self.broken & {seed % 5 for seed in seeds}:
            raise RuntimeError("out of paint")
        time.sleep(self.delay)
        pairs = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            number = seed % self.pool if self.pool else seed
            image = noise(9, number)
            told = odd(image) != (self.wrong and seed % 4 == 0)
            pairs.append((image, f"{prompt} the corner is {'odd' if told else 'even'} in {number}.".strip()))
        if self.calls in self.copies:
            pairs[0] = (self.copies[self.calls], pairs[0][1])
        self.calls += 1
        self.prompts += prompts
        return pairs

    def log_likelihood(self, images, reports, condition, *, draws, seeds):
        assert condition == "joint"
        nats = np.array([[100.0, len(report)] for report in reports])
        return SimpleNamespace(nats=nats)

    def tokenizers(self):
        return {}

    report_vocabulary = 1

    def report_ids(self, reports):
        raise NotImplementedError


def open_gate(data: NoiseData, model: NoiseModel | None = None, **rules) -> Gate:
    search = NeighbourSearch(data, SIDE, Context(features=(), dataset=data), 0.01)
    return Gate(
        Rules(**rules), search, data.steering_image_checker(), data.report_checker(), model, model and model.fingerprint
    )


@pytest.fixture
def world() -> SimpleNamespace:
    return SimpleNamespace(
        noise=noise, Data=NoiseData, Model=NoiseModel, gate=open_gate, Generated=Generated, Existing=Existing, SIDE=SIDE
    )
