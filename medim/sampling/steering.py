"""Samples steered by checkers of findings: the best of several, and repair of what contradicts them.
Findings of image and report should agree. The checker that steers is never the one that scores; a signature names both."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from PIL import Image, ImageDraw

from medim.canvas import Canvas
from medim.common.errors import UserError
from medim.data.dataset import Checker, Described
from medim.sampling.cost import Cost, active_tokens
from medim.sampling.decoder import Decoded
from medim.sampling.editing.regions import largest
from medim.sampling.settings import SteeringSettings

CELLS = 8  # parts of a side of an image, of which each is covered once


@runtime_checkable
class Graded(Protocol):
    """A checker with probabilities."""

    labels: tuple[str, ...]

    def probabilities(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Probability of each label, (N, labels)."""


@dataclass(frozen=True)
class Steering:
    """The checkers of images and of reports; neither scores."""

    images: Checker
    reports: Checker

    def settings(self) -> dict[str, Any]:
        chosen = {"image_checker_weights": self.images.details()["weights"]} if isinstance(self.images, Described) else {}
        return {
            "image_checker": f"{self.images.name} {self.images.fingerprint}",
            "report_checker": f"{self.reports.name} {self.reports.fingerprint}",
            **chosen,
        }

    def scores(self, images: Sequence[Image.Image], wanted: Sequence[frozenset[str]]) -> np.ndarray:
        """How well images (n) show the wanted findings: mean log-probability of each label's presence or absence.
        For a checker without probabilities, the share of labels that it reads as wanted."""
        presence = np.array([[label in findings for label in self.images.labels] for findings in wanted], bool)
        presence = presence.reshape(len(images), len(self.images.labels))
        if isinstance(self.images, Graded):
            p = np.clip(self.images.probabilities(images).astype(np.float64), 1e-6, 1 - 1e-6)
            return np.where(presence, np.log(p), np.log1p(-p)).mean(1)
        found = np.array([[label in findings for label in self.images.labels] for findings in self.images(images)])
        return (found.reshape(presence.shape) == presence).mean(1)

    def agreement(self, images: Sequence[Image.Image], reports: Sequence[str]) -> np.ndarray:
        """How well the findings of each image and report agree, (n,)."""
        return self.scores(images, self.reports(reports))

    def covered(self, image: Image.Image, report: str) -> np.ndarray:
        """Gain in agreement with the report when a part of the image is covered by its mean colour, (CELLS, CELLS)."""
        width, height = image.size
        mean = tuple(int(v) for v in np.asarray(image).reshape(-1, 3).mean(0).round())
        views = [image]
        for row in range(CELLS):
            for column in range(CELLS):
                view = image.copy()
                box = [column * width // CELLS, row * height // CELLS]
                box += [(column + 1) * width // CELLS - 1, (row + 1) * height // CELLS - 1]
                ImageDraw.Draw(view).rectangle(tuple(box), fill=mean)
                views.append(view)
        scores = self.scores(views, self.reports([report]) * len(views))
        return (scores[1:] - scores[0]).reshape(CELLS, CELLS)

    def blamed(self, image: Image.Image, sentences: Sequence[str]) -> list[int]:
        """Indices of sentences without which the rest agrees better with the image."""
        texts = [" ".join(sentences)]
        texts += [" ".join(s for k, s in enumerate(sentences) if k != i) for i in range(len(sentences))]
        scores = self.scores([image] * len(texts), self.reports(texts))
        return [i for i in range(len(sentences)) if scores[i + 1] > scores[0] + 1e-9]


def seed_of(seed: int, number: int) -> int:
    """The seed of a sample's candidates and repairs; number 0 is the sample's seed."""
    return seed if number == 0 else int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> np.uint64(1))


@dataclass
class Spent:
    """Cost of a call: runs of the decoder, samples (`rows`) in each, and candidates for each sample returned."""

    decoded: list[Decoded]
    rows: list[int]
    candidates: int = 1

    def add(self, decoded: Decoded, rows: int) -> None:
        self.decoded.append(decoded)
        self.rows.append(rows)

    def each(self, cost: Cost) -> dict[str, float]:
        """Share of one sample: forwards, active tokens (positions computed), FLOPs of the denoiser."""
        samples = max(1, self.rows[0] if self.rows else 0)
        passes = [one for run in self.decoded for one in run.passes]
        return {
            "forwards": sum(run.forwards for run in self.decoded),  # most of any sample
            "active_tokens": active_tokens(passes) / samples,
            "flops": cost.of_passes(passes) / samples,
        }


Run = Callable[[Canvas, Sequence[int]], Decoded]
Show = Callable[[Canvas], tuple[list[Image.Image], list[str]]]
Sentences = Callable[[Canvas, int], list[tuple[str, slice]]]


def steer(
    canvas: Canvas,
    seeds: Sequence[int],
    steering: Steering,
    settings: SteeringSettings,
    run: Run,
    show: Show,
    sentences: Sentences,
    flops: Callable[[Decoded], float],
) -> tuple[Canvas, Spent]:
    """Best of n, then repair; never worse than the first sample by the steering checkers.
    A budget allows as many runs of the decoder as the first one fits into it; a repair counts as one.
    `run`: fills canvases.
    `show`: images and reports of filled canvases.
    `sentences`: text and places of the tokens of each sentence in one row of a filled canvas.
    `flops`: of a run of the decoder."""
    allowed, first = settings.candidates + settings.repairs, run(canvas, seeds)
    each = flops(first) / max(1, len(seeds))
    if settings.budget and each:
        allowed = min(allowed, max(1, int(settings.budget // each)))
    spent = Spent([first], [len(seeds)])
    best, score = first.canvas.tokens.clone(), steering.agreement(*show(first.canvas))
    for number in range(1, min(settings.candidates, allowed)):
        again = run(canvas, [seed_of(seed, number) for seed in seeds])
        spent.add(again, len(seeds))
        spent.candidates += 1
        score = _keep_better(best, score, again.canvas.tokens, steering.agreement(*show(again.canvas)))
    done = Canvas(canvas.layout, best, canvas.given)
    for number in range(min(settings.repairs, allowed - spent.candidates)):
        rows, opened = reopened(done, canvas, steering, settings.share, show, sentences)
        if not rows:
            break
        again = run(opened, [seed_of(seeds[row], settings.candidates + number) for row in rows])
        spent.add(again, len(rows))
        part = best[rows]
        score[rows] = _keep_better(part, score[rows], again.canvas.tokens, steering.agreement(*show(again.canvas)))
        best[rows] = part
        done = Canvas(canvas.layout, best, canvas.given)
    return done, spent


def _keep_better(best: torch.Tensor, score: np.ndarray, tokens: torch.Tensor, other: np.ndarray) -> np.ndarray:
    """Copies rows of `tokens` into `best` where they score higher; returns the best scores."""
    index = torch.from_numpy((other > score).nonzero()[0]).to(best.device)
    best[index] = tokens[index]
    return np.maximum(score, other)


def reopened(
    done: Canvas, requested: Canvas, steering: Steering, share: float, show: Show, sentences: Sentences
) -> tuple[list[int], Canvas]:
    """Rows whose findings disagree, and their canvases with what contradicts the rest masked again; given tokens stay.
    Of a generated image: the `share` of its tokens whose covering raises the agreement most. Of a report beside a given image:
    the sentences without which the rest agrees better, or, where none contradicts the image, what follows the last word."""
    layout = done.layout
    images, reports = show(done)
    shown, stated = steering.images(images), steering.reports(reports)
    free = ~requested.given
    rows, canvases = [], []
    for row, (image, report) in enumerate(zip(images, reports, strict=True)):
        if shown[row] == stated[row]:
            continue
        open_ = torch.zeros(layout.length, dtype=torch.bool, device=done.tokens.device)
        if bool(free[row, layout.image].any()):
            open_[layout.image] = _region(steering.covered(image, report), layout.image_length, share).to(open_.device)
        else:
            parts = sentences(done, row)
            blamed = steering.blamed(image, [text for text, _ in parts])
            start = layout.report.start
            for index in blamed:
                open_[start + parts[index][1].start : start + parts[index][1].stop] = True
            if not blamed:
                last = parts[-1][1].stop if parts else 0
                open_[start + last : layout.report.stop] = True
        open_ &= free[row]
        if not bool(open_.any()):
            continue
        rows.append(row)
        tokens = torch.where(open_, layout.vocabulary.mask, done.tokens[row])
        canvases.append((tokens, ~open_))
    if not rows:
        return [], done
    return rows, Canvas(layout, torch.stack([t for t, _ in canvases]), torch.stack([g for _, g in canvases]))


def _region(gain: np.ndarray, positions: int, share: float) -> torch.Tensor:
    """Image tokens (positions,) under the cells of largest gain."""
    side = round(positions**0.5)
    if side * side != positions:
        raise UserError(f"repair looks for regions of a square image; this one has {positions} tokens")
    cell = (np.arange(side) * CELLS) // side
    weight = torch.from_numpy(gain[np.ix_(cell, cell)]).float().view(1, -1)
    return largest(weight, share)[0]
