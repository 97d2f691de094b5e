"""A world of two colours: a data set, a model that knows it, and tasks that score without weights or Java."""

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from PIL import Image

from benchmark.cli import main
from medim.common.errors import UserError, unknown
from medim.pair import ImageReportPair
from tasks import task_named
from tasks.metrics.statistics.additive import Additive
from tasks.protocols import Case, Prediction
from tasks.scoring.scores import Score
from tasks.task import Anchor, Task

COLOURS = {"red": (200, 0, 0), "blue": (0, 0, 200)}


def picture(label: str) -> Image.Image:
    return Image.new("RGB", (8, 8), COLOURS[label])


def label_of(image: Image.Image) -> str:
    red, _, blue = image.getpixel((0, 0))
    return "red" if red > blue else "blue"


class ColourChecker:
    """Reads the colour of an image, or its name in a report."""

    labels = ("red", "blue")

    def __init__(self, modality: str) -> None:
        self.name = self.fingerprint = f"colour-{modality}"

    def __call__(self, items: Sequence) -> list[frozenset[str]]:
        texts = [label_of(item) if isinstance(item, Image.Image) else item for item in items]
        return [frozenset(label for label in self.labels if label in text.split()) for text in texts]


class ColourDataset:
    name = "colours"
    fingerprint = "c0105"
    synthetic = True
    terms = "CC0-1.0"
    domains = ("colour",)

    def size(self, split: str) -> int:
        return 20

    def pair(self, split: str, index: int) -> ImageReportPair:
        label = "red" if index % 3 else "blue"
        id = f"{split}-{index:02d}"
        return ImageReportPair(
            id, picture(label), f"it is {label} number {index}", split, id, id, domain="colour", findings=(label,)
        )

    def image_checker(self) -> ColourChecker:
        return ColourChecker("image")

    def report_checker(self) -> ColourChecker:
        return ColourChecker("report")


class ColourModel:
    """Draws what it is told; `fails_after` batches it raises `error`, and `broken` ids of reports raise always."""

    name = "painter"
    fingerprint = "pa1n7"
    resolution = 8
    steered = False

    def __init__(self) -> None:
        self.drawn: list[str] = []
        self.seeds: dict[str, int] = {}
        self.batches = 0
        self.fails_after: int | None = None
        self.error: BaseException = KeyboardInterrupt()
        self.broken: set[str] = set()
        self.steps = 16

    def configure(self, settings: dict[str, str]) -> None:
        for key, value in settings.items():
            if key != "image.steps":
                raise unknown("sampler setting", key, ["image.steps"])
            self.steps = int(value)

    def settings(self) -> dict:
        return {"image": {"steps": self.steps}}

    def _batch(self, texts: Sequence[str], seeds: Sequence[int]) -> None:
        if self.fails_after is not None and self.batches >= self.fails_after:
            raise self.error
        for text in texts:
            if text in self.broken:
                raise RuntimeError(f"cannot draw '{text}'")
        self.batches += 1
        self.drawn += texts
        self.seeds.update(zip(texts, seeds, strict=True))

    def generate_images(self, reports: Sequence[str], *, seeds: Sequence[int]) -> list[Image.Image]:
        self._batch(reports, seeds)
        return [picture("red" if "red" in report else "blue") for report in reports]

    def generate_reports(self, images: Sequence[Image.Image], *, seeds: Sequence[int]) -> list[str]:
        reports = [f"it is {label_of(image)} {seed}" for image, seed in zip(images, seeds, strict=True)]
        self._batch(reports, seeds)
        return reports

    def generate_pairs(self, prompts: Sequence[str], *, seeds: Sequence[int]) -> list[tuple[Image.Image, str]]:
        self._batch([f"pair {seed}" for seed in seeds], seeds)
        return [(picture("red"), f"it is red {seed}") for seed in seeds]

    def reconstruct(self, images: Sequence[Image.Image]) -> list[Image.Image]:
        return list(images)


class ColourTask(Task):
    """Scores agreement with the case's findings; counts how often it scored and made anchors."""

    title = "Colours"
    headline_metrics = ("macro finding F1",)

    def __init__(self, name: str) -> None:
        real = task_named(name)
        self.name, self.needs, self.prompted, self.order = real.name, real.needs, real.prompted, real.order
        self.scored = 0
        self.anchored = 0

    def generate(self, generator, cases: Sequence[Case], seeds: Sequence[int]) -> list[Prediction]:
        if self.name == "image-generation":
            images = generator.generate_images([case.report for case in cases], seeds=seeds)
            return [Prediction(case.id, image) for case, image in zip(cases, images, strict=True)]
        if self.name == "report-generation":
            reports = generator.generate_reports([case.image for case in cases], seeds=seeds)
            return [Prediction(case.id, None, report) for case, report in zip(cases, reports, strict=True)]
        pairs = generator.generate_pairs(["" for _ in cases], seeds=seeds)
        return [Prediction(case.id, image, report) for case, (image, report) in zip(cases, pairs, strict=True)]

    def anchors(self, cases, train, reconstructs, seed) -> list[Anchor]:
        self.anchored += 1
        return [
            Anchor("real", [Prediction(case.id, case.image, case.report) for case in cases]),
            Anchor("constant", [Prediction(case.id, train[0].image, train[0].report) for case in cases]),
        ]

    def score(self, cases, predictions, context, population=None):
        self.scored += 1
        found = [
            context.image_checker([p.image])[0] if p.image else context.report_checker([p.report or ""])[0] for p in predictions
        ]
        hits = [float(case.findings == labels) for case, labels in zip(cases, found, strict=True)]
        coverage = sum(p.image is not None or p.report is not None for p in predictions) / len(cases)
        kept = Additive.mean(hits, [case.patient for case in cases])
        ends = kept.interval(context.seed)
        value = Score(
            "macro finding F1",
            sum(hits) / len(hits),
            len(cases),
            coverage,
            True,
            {"metric": "hits"},
            ends.low,
            ends.high,
            additive=kept,
        )
        withheld = Score("CIDEr", None, len(cases), coverage, True, {"metric": "CIDEr"}, reason="fewer than 50 references")
        return [value, withheld], [{"hit": hit} for hit in hits]


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder that runs share, of each test its own."""
    monkeypatch.setenv("MEDIM_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def dataset() -> ColourDataset:
    return ColourDataset()


@pytest.fixture
def model() -> ColourModel:
    return ColourModel()


@pytest.fixture
def colour_tasks(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ColourTask]]:
    """Stands in for the tasks, and for the page, whose plots take seconds."""
    registry = {name: ColourTask(name) for name in ("image-generation", "report-generation", "joint-generation")}
    module = SimpleNamespace(**{name: partial(registry.get, name) for name in registry})
    monkeypatch.setitem(sys.modules, "colour_tasks", module)
    monkeypatch.setattr("tasks.BUILT_IN", {name: f"colour_tasks:{name}" for name in registry})
    task_named.cache_clear()

    def build(runs: Sequence[Path], out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "index.html").write_text("page")
        (out / "leaderboard.md").write_text("| model |\n")

    monkeypatch.setattr("leaderboard.build.build", build)
    yield registry
    task_named.cache_clear()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, dataset: ColourDataset, model: ColourModel, colour_tasks: dict):
    """Calls `medim-bench` in this process with the two-colour world behind --model painter and --data colours."""
    from benchmark.run import command as execute

    load = execute.loading.load_dataset
    monkeypatch.setattr("medim.data.loading.load_dataset", lambda name: dataset if name == "colours" else load(name))

    def open_model(name: str, device: str | None, overrides: dict[str, str], *rest: object) -> ColourModel:
        if name != "painter":
            raise UserError(f"no model '{name}'")
        model.configure({key.removeprefix("sampling."): value for key, value in overrides.items()})
        return model

    monkeypatch.setattr("benchmark.run.command.open_model", open_model)
    monkeypatch.setattr("benchmark.sampling.samples.open_pipeline", open_model)

    def call(*arguments: object):
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return call
