"""Pairs whose findings are bands of an image and words of a report, a generator of such pairs, and a quick downstream model."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from benchmark.cli import main
from medim.pair import ImageReportPair
from tasks.downstream.contract import Example

LABELS = ("amber", "blue", "coral", "dune")
SIDE = 8
SIZES = {"train": 200, "val": 40, "test": 120}


def findings_of(rng: np.random.Generator) -> frozenset[str]:
    return frozenset(label for label in LABELS if rng.random() < 0.4)


def draw(findings: frozenset[str], rng: np.random.Generator) -> Image.Image:
    pixels = rng.integers(0, 90, (SIDE, SIDE, 3))
    for index, label in enumerate(LABELS):
        if label in findings:
            pixels[:, 2 * index : 2 * index + 2] += 12
    return Image.fromarray(pixels.astype(np.uint8))


def write(findings: frozenset[str]) -> str:
    return " ".join(["a scene."] + [f"there is {label}." for label in LABELS if label in findings])


class WordChecker:
    name, fingerprint, labels = "words", "words-1", LABELS

    def __call__(self, reports):
        return [frozenset(label for label in LABELS if label in report) for report in reports]


class Scenes:
    name, fingerprint, synthetic, terms, domains = "scenes", "scenes-1", True, "CC0-1.0", ("scene",)

    def size(self, split: str) -> int:
        return SIZES[split]

    def pair(self, split: str, index: int) -> ImageReportPair:
        rng = np.random.default_rng([("train", "val", "test").index(split), index])
        findings, id = findings_of(rng), f"{split}-{index}"
        return ImageReportPair(
            id,
            draw(findings, rng),
            write(findings),
            split,
            id,
            f"{split}-patient{index // 2}",
            domain="scene",
            findings=tuple(sorted(findings)),
        )

    def image_checker(self):
        return None

    def report_checker(self) -> WordChecker:
        return WordChecker()


class SceneModel:
    """Draws what its reports say; counts what was asked of it."""

    name, fingerprint, resolution = "scenist", "5ce21", SIDE

    def __init__(self) -> None:
        self.asked = 0
        self.prompts: list[str] = []

    def settings(self) -> dict:
        return {"strokes": 1}

    def generate_images(self, reports, *, seeds):
        raise AssertionError("no arm draws images for given reports")

    def generate_reports(self, images, *, seeds):
        self.asked += len(images)
        return [write(frozenset()) for _ in images]

    def generate_pairs(self, prompts, *, seeds):
        self.asked += len(prompts)
        self.prompts += prompts
        found = [findings_of(np.random.default_rng(seed)) for seed in seeds]
        return [(draw(one, np.random.default_rng([seed, 1])), write(one)) for one, seed in zip(found, seeds, strict=True)]


class Regression:
    """Least squares from bands to labels on `steps` examples drawn by the seed: a tiny `Downstream`."""

    name = "regression"

    def __init__(self) -> None:
        self.fits: list[Path] = []
        self.dies_after: int | None = None

    def fit(self, train, validation, *, steps, seed, out, augment=False, evaluate_every=None):
        if self.dies_after is not None and len(self.fits) >= self.dies_after:
            raise KeyboardInterrupt
        self.fits.append(out)
        rows = np.random.default_rng(seed).integers(0, len(train), steps)
        x = np.stack([features(train[row].picture()) for row in rows])
        y = np.array([[label in train[row].report for label in LABELS] for row in rows], dtype=float)
        weights = np.linalg.lstsq(x.T @ x + 0.1 * np.eye(x.shape[1]), x.T @ y, rcond=None)[0]
        out.mkdir(parents=True, exist_ok=True)
        (out / "metrics.jsonl").write_text(json.dumps({"step": steps}) + "\n")
        np.save(out / "weights.npy", weights)
        return FittedRegression(weights)


class FittedRegression:
    name = "regression"

    def __init__(self, weights: np.ndarray) -> None:
        self.weights, self.fingerprint = weights, "f" + str(weights.sum())

    def settings(self) -> dict:
        return {"kind": "least squares"}

    def generate_reports(self, images, *, seeds):
        scores = np.stack([features(image) for image in images]) @ self.weights
        return [write(frozenset(label for label, value in zip(LABELS, row, strict=True) if value > 0.5)) for row in scores]


def features(image: Image.Image) -> np.ndarray:
    bands = np.asarray(image, dtype=float).reshape(SIDE, 4, 2, 3).mean(axis=(0, 2, 3)) / 255
    return np.append(bands, 1.0)


def examples(count: int) -> list[Example]:
    pairs = [Scenes().pair("train", index) for index in range(count)]
    return [Example(pair.id, pair.patient, pair.image, pair.report, frozenset(pair.findings)) for pair in pairs]


@pytest.fixture
def scenist() -> SceneModel:
    return SceneModel()


@pytest.fixture
def regression() -> Regression:
    return Regression()


@pytest.fixture
def run(monkeypatch, tmp_path, scenist, regression):
    """Calls `run augmentation` in this process, on scenes; the page and METEOR, which take seconds, are left out."""
    from benchmark.augmentation import augment
    from tasks.downstream import DOWNSTREAM
    from tasks.metrics.text import captioning

    load = augment.loading.load_dataset
    monkeypatch.setattr("medim.data.loading.load_dataset", lambda name: Scenes() if name == "scenes" else load(name))
    monkeypatch.setattr("benchmark.augmentation.augment.open_model", lambda name, *rest: scenist)
    monkeypatch.setattr("benchmark.augmentation.augment.build", lambda runs, out: None)
    withheld = captioning.CaptionScore("METEOR", None, {}, reason="left out")
    monkeypatch.setattr(captioning, "_meteor", lambda *arguments, **options: withheld)
    monkeypatch.setitem(DOWNSTREAM, "regression", lambda argument, device: regression)

    def call(*arguments: object, preset: str = "quick", train: str = "20%", steps: int = 40):
        settings = {"train": train, "steps": steps, "validation": 20, "test": 120}
        pairs = [text for key, value in settings.items() for text in ("--set", f"augmentation.{key}={value}")]
        command = ["run", "augmentation", "--model", "scenist", "--data", "scenes", "--out", tmp_path / "out"]
        command += ["--preset", preset, "--downstream", "regression", *pairs, *arguments]
        return CliRunner().invoke(main, [str(argument) for argument in command])

    return call
