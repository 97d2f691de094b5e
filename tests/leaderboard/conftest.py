"""Run folders as `medim-bench run` leaves them: made here, so that this package is tested alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medim.common.files import file_name

FINDINGS = {
    "chest-xray": ["cardiomegaly", "left effusion", "right effusion", "left pneumothorax", "nodule", "pacemaker"],
    "pathology": ["glands", "lymphocytes", "necrosis", "pigment"],
}
ALL = [finding for group in FINDINGS.values() for finding in group]
ANCHORS = {"real": 0.96, "reconstruction": 0.9, "shuffled": 0.2, "constant": 0.06}
NO_JAVA = "METEOR 1.5 needs Java (no `java` on the PATH)"


def record(**changes: Any) -> dict[str, Any]:
    """One record as a dict, valid as it stands."""
    return {
        "task": "report-generation",
        "model": "phantom-tiny",
        "dataset": "phantom",
        "split": "test",
        "metric": "BLEU-4",
        "value": 0.5,
        "ci_low": None,
        "ci_high": None,
        "n": 256,
        "coverage": 1.0,
        "seed": 0,
        "protocol": "strict-v1",
        "signature": {"metric": "BLEU-4", "version": "1", "n": 256},
        "kind": "measured",
        "commit": "0123abc",
        "command": "medim-bench run all --model phantom-tiny --data phantom --out runs/demo",
        "created": "2026-01-02T03:04:05+00:00",
        "reason": None,
        "higher_is_better": True,
        "synthetic": True,
        "run": "aaaa1111bbbb2222",
    } | changes


def scores(task: str, quality: float, checkers: bool, rng: np.random.Generator) -> list[dict[str, Any]]:
    """What the tasks' metrics would give for a system of some quality in [0, 1]."""

    def score(metric, value, better=True, width: float | None = 0.03, reason=None):
        interval = {} if width is None or value is None else {"ci_low": value - width, "ci_high": value + width}
        return {"metric": metric, "value": value, "higher_is_better": better, "reason": reason, **interval}

    def finding(metric):
        return score(metric, quality) if checkers else score(metric, None, reason="the data set has no finding checker")

    result = []
    if task != "report-generation":
        result += [
            score("KID (EfficientNet-Lite0)", 0.02 * (1 - quality) - 0.0004, False, None),
            score("Fréchet distance (EfficientNet-Lite0)", 12 + 180 * (1 - quality), False, None),
        ]
    if task == "report-generation":
        result += [score(f"BLEU-{i}", (0.3 + 0.6 * quality) / i, True, None) for i in (1, 2, 3, 4)]
        result += [score("METEOR", None, True, reason=NO_JAVA), score("ROUGE-L", 0.3 + 0.6 * quality)]
        result += [score("CIDEr", 4 * quality, True, None)]
    if task == "joint-generation":
        result += [finding("joint agreement"), score("anchored joint agreement", (quality - 0.2) / 0.76, True, 0.04)]
        result += [score("distinct reports", 0.4 + 0.5 * quality, None, None)]
        prevalence = {item: 0.1 + 0.02 * i for i, item in enumerate(ALL)} if checkers else {}
        for modality in ("image", "report"):
            for item, share in prevalence.items():
                off = (1 - quality) * rng.uniform(-0.2, 0.2)
                result.append(score(f"prevalence: {item} ({modality})", max(0.0, share + off), None, None))
    else:
        result.append(finding("macro finding F1"))
        if checkers:
            result += [score(f"macro finding F1: {domain}", quality) for domain in FINDINGS]
            result += [score(f"finding F1: {item}", min(1.0, quality * rng.uniform(0.8, 1.05)), True, None) for item in ALL]
    return result


def picture(path: Path, domain: str, rng: np.random.Generator, side: int) -> None:
    """A small picture that looks a little like its domain."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    if domain == "chest-xray":
        lungs = np.exp(-(((np.abs(x) - 0.42) / 0.28) ** 2) - (y / 0.62) ** 2)
        grey = 205 - 150 * lungs + rng.normal(0, 7, x.shape)
        pixels = np.repeat(grey[..., None], 3, -1)
    else:
        pixels = np.array([228, 176, 205]) + rng.normal(0, 9, (*x.shape, 3))
        for cx, cy in rng.uniform(-1, 1, (40, 2)):
            pixels[(x - cx) ** 2 + (y - cy) ** 2 < 0.006] = (98, 62, 140)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


def write_run(
    folder: Path,
    *,
    run: str = "aaaa1111bbbb2222",
    model: str = "phantom-tiny",
    quality: float = 0.85,
    dataset: str = "phantom",
    synthetic: bool = True,
    fingerprint: str = "f00dfeed12345678",
    tasks: tuple[str, ...] = ("image-generation", "report-generation", "joint-generation"),
    n: int = 256,
    coverage: float = 1.0,
    seed: int = 0,
    samples: int = 6,
    side: int = 64,
    terms: str = "CC0",
    withhold: bool = False,
    report: str = "The heart is enlarged. No pleural effusion.",
    signature: dict[str, Any] | None = None,
    anchors: dict[str, float] | None = None,
) -> Path:
    """Writes a whole run folder and returns it."""
    command = f"medim-bench run all --model {model} --data {dataset} --out {folder.name}"
    systems = {model: quality, **(ANCHORS if anchors is None else anchors)}
    lines = []
    for task in tasks:
        for position, (system, level) in enumerate(systems.items()):
            if task == "report-generation" and system == "reconstruction":
                continue
            rng = np.random.default_rng([7, position])
            for score in scores(task, level, synthetic, rng):
                metric = {"metric": score["metric"], "version": "1", "n": n, "data": fingerprint, **(signature or {})}
                own = {"kind": "measured", "coverage": coverage} if system == model else {"kind": "anchor", "coverage": 1.0}
                if system == model:
                    metric |= {"model": f"{model}-hash", "settings": {"steps": 16}}
                if n < 15:
                    score = {**score, "ci_low": None, "ci_high": None}
                where = {"task": task, "model": system, "dataset": dataset, "n": n, "seed": seed, "run": run}
                lines.append(record(**where, synthetic=synthetic, command=command, signature=metric, **own, **score))
            write_samples(folder / "samples" / task, task, file_name(system), samples, report, side)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    manifest = {
        "run": run,
        "model": model,
        "model_fingerprint": f"{model}-hash",
        "dataset": dataset,
        "dataset_fingerprint": fingerprint,
        "split": "test",
        "synthetic": synthetic,
        "terms": terms,
        "withhold_samples": withhold,
        "tasks": list(tasks),
        "command": command,
        "commit": "0123abc",
        "created": "2026-01-02T03:04:05+00:00",
        "versions": {"torch": "2"},
        "settings": {},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def write_samples(folder: Path, task: str, system: str, count: int, report: str, side: int) -> None:
    lines = []
    for index in range(count):
        domain = ("chest-xray", "pathology")[index >= count / 2]
        name = f"{domain[:5]}-{index:03d}"
        rng = np.random.default_rng([index, len(system)])
        image = reference = None
        if task != "report-generation":
            image = f"images/{name}.png"
            picture(folder / system / image, domain, rng, side)
        if task != "joint-generation":
            reference = f"../references/{name}.png"
            picture(folder / "references" / f"{name}.png", domain, rng, side)
        lines.append(
            {
                "id": name,
                "image": image,
                "report": None if task == "image-generation" else report,
                "prompt": None,
                "reference_image": reference,
                "scores": {"finding F1": 0.75},
                "domain": domain,
                "reference_report": None if task == "joint-generation" else f"Case {index}: small left effusion.",
            }
        )
    (folder / system).mkdir(parents=True, exist_ok=True)
    (folder / system / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


@pytest.fixture
def make_record() -> Callable[..., dict[str, Any]]:
    return record


@pytest.fixture(scope="session")
def run_writer() -> Callable[..., Path]:
    """`write_run(folder, **options)` for fixtures that outlive a test."""
    return write_run


@pytest.fixture
def make_run(tmp_path) -> Callable[..., Path]:
    """Writes a run below the test's folder: `make_run("name", model=..., ...)`."""
    return lambda name="run", **options: write_run(tmp_path / name, **options)
