"""A world so simple that every score is known: findings are bands of an image and words of a report."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image

from medim.pair import ImageReportPair
from tasks.metrics.text import meteor
from tasks.metrics.text.java import java_problem
from tasks.protocols import Case
from tasks.scoring.context import Context

LABELS = ("amber", "blue", "coral", "dune")
SIDE = 16
FILLERS = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "zeta",
    "eta",
    "theta",
    "iota",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
    "omicron",
    "pi",
    "rho",
    "sigma",
    "tau",
    "upsilon",
]


def draw(findings: frozenset[str], shade: int) -> Image.Image:
    """Four bands, bright where the label is present, over a background of the given shade (0..120)."""
    pixels = np.full((SIDE, SIDE, 3), shade, dtype=np.uint8)
    for index, label in enumerate(LABELS):
        if label in findings:
            pixels[:, 4 * index : 4 * index + 4] = 220
    return Image.fromarray(pixels)


def write(findings: frozenset[str], number: int) -> str:
    first, second = FILLERS[number % 20], FILLERS[(number // 20) % 20]
    stated = " ".join(f"there is {label}." for label in LABELS if label in findings)
    return f"case {first} {second} of the study. {stated or 'nothing of note is seen.'}"


@dataclass
class ImageChecker:
    name: str = "bands"
    fingerprint: str = "bands-1"
    labels: tuple[str, ...] = LABELS
    calls: int = 0

    def __call__(self, items: Sequence[Image.Image]) -> list[frozenset[str]]:
        self.calls += len(items)
        bands = [np.asarray(image.convert("L"))[SIDE // 2, 1::4] for image in items]
        return [frozenset(label for label, value in zip(LABELS, band, strict=True) if value > 150) for band in bands]


@dataclass
class ReportChecker:
    name: str = "words"
    fingerprint: str = "words-1"
    labels: tuple[str, ...] = LABELS

    def __call__(self, items: Sequence[str]) -> list[frozenset[str]]:
        return [frozenset(label for label in LABELS if label in report) for report in items]


class Pooled:
    """Features: the image pooled to 2 x 4 x 3."""

    name = "pooled"
    title = "pooled"
    fingerprint = "pooled-1"
    resize = "none"
    trained_against = False

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(images, (2, 4)).flatten(1)


def findings_of(generator: np.random.Generator) -> frozenset[str]:
    return frozenset(label for label in LABELS if generator.random() < 0.3)


def make_cases(count: int, prefix: str, seed: int, known: bool = True) -> list[Case]:
    generator = np.random.default_rng(seed)
    cases = []
    for index in range(count):
        findings = findings_of(generator)
        cases.append(
            Case(
                id=f"{prefix}-{index:03d}",
                patient=f"{prefix}-patient-{index // 2}",
                domain="east" if index % 2 else "west",
                image=draw(findings, 37 * index % 127),  # a shade of its own
                report=write(findings, index),
                findings=findings if known else None,
            )
        )
    return cases


class Perfect:
    """Knows the cases: draws what a report states and writes what an image shows."""

    name = "perfect"
    fingerprint = "perfect-1"

    def __init__(self, cases: Sequence[Case]) -> None:
        self.by_report = {case.report: case for case in cases}
        self.by_image = {case.image.tobytes(): case for case in cases}
        self.pairs = [(case.image, case.report) for case in cases]
        self.prompts: list[str] = []
        self.seeds: list[int] = []

    def settings(self) -> dict[str, object]:
        return {}

    def generate_images(self, reports, *, seeds):
        self.seeds += seeds
        return [self.by_report[report].image for report in reports]

    def generate_reports(self, images, *, seeds):
        self.seeds += seeds
        return [self.by_image[image.tobytes()].report for image in images]

    def generate_pairs(self, prompts, *, seeds):
        self.prompts += prompts
        self.seeds += seeds
        return self.pairs[: len(prompts)]


class Blur:
    """A tokenizer that loses nothing but exactness."""

    def reconstruct(self, images):
        return [Image.fromarray((np.asarray(image) // 8 * 8).astype(np.uint8)) for image in images]


class World:
    """A data set of pairs, with everything the tests need beside it."""

    name = "world"
    fingerprint = "world-1"
    synthetic = True
    terms = "CC0-1.0"
    domains = ("east", "west")
    labels = LABELS
    blur = Blur()
    perfect = staticmethod(Perfect)
    make_cases = staticmethod(make_cases)
    draw = staticmethod(draw)
    write = staticmethod(write)

    def __init__(self) -> None:
        self.cases = make_cases(80, "test", seed=1)
        self.train = make_cases(120, "train", seed=2)

    def size(self, split: str) -> int:
        return {"train": len(self.train), "val": 0, "test": len(self.cases)}[split]

    def pair(self, split: str, index: int) -> ImageReportPair:
        case = (self.train if split == "train" else self.cases)[index]
        return ImageReportPair(
            case.id, case.image, case.report, split, case.id, case.patient, domain=case.domain, findings=tuple(case.findings)
        )

    def image_checker(self) -> ImageChecker:
        return ImageChecker()

    def report_checker(self) -> ReportChecker:
        return ReportChecker()

    def context(self, checkers: bool = True) -> Context:
        given = (ImageChecker(), ReportChecker()) if checkers else (None, None)
        return Context(*given, opener=lambda spec, device: Pooled())


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def no_java(monkeypatch, tmp_path):
    """A machine without Java."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(meteor, "shared", meteor.Meteor)
    java_problem.cache_clear()
    yield
    java_problem.cache_clear()


@pytest.fixture(scope="session")
def java() -> None:
    """Skips where there is no Java."""
    if (problem := java_problem()) is not None:
        pytest.skip(f"needs Java: {problem}")
