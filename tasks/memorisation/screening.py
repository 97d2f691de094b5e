"""Samples held against a whole training split: thresholds from held-out pairs, then distances, flags and planted copies."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image
from tqdm import tqdm

from medim.common.errors import UserError
from medim.common.files import hash_of
from medim.data.dataset import PairDataset, keys_of
from medim.data.tokens.read_ahead import pixels
from medim.perception.space import Precomputed
from tasks.memorisation.training_index import TrainingIndex, features_of, patient_numbers, write_arrays
from tasks.metrics.image.features import FeatureBank
from tasks.metrics.image.memorisation import (
    ALPHA,
    Nearest,
    Threshold,
    altered_copies,
    authentic,
    duplicate_share,
    found_on_top,
    mirrored,
    nearest,
    nearest_of_views,
    normalised,
    severity,
    threshold_of,
    thumbnails,
)
from tasks.metrics.text.copied_text import NO_TEXT, Copied, Hashed, copied
from tasks.protocols import Cases
from tasks.scoring.context import Context

PIXELS = "pixels"
HELD_OUT = 1000
_SHOWN = 64  # held-out images between two steps of the progress
PLANTED = 10  # half as they are, half altered


@dataclass(frozen=True)
class Space:
    """A space of distances; without a bank, the pixels of thumbnails."""

    title: str
    bank: FeatureBank | None

    def views(self, images: Sequence[Image.Image]) -> np.ndarray:
        """(Q, O, D) float32: as they are, and mirrored where features can be computed."""
        if self.bank is None:
            turns = [normalised(thumbnails(images)), normalised(thumbnails([mirrored(image) for image in images]))]
        elif isinstance(self.bank.space, Precomputed):
            turns = [features_of(self.bank, images)]
        else:
            turns = [features_of(self.bank, images), features_of(self.bank, [mirrored(image) for image in images])]
        return np.stack(turns, axis=1)


@dataclass(frozen=True)
class Null:
    """What pairs that nobody trained on look like to the screen."""

    distances: np.ndarray  # (S, H) of held-out images, by space
    shares: np.ndarray  # (T,) of their reports' 8-grams that training reports have
    verbatim: np.ndarray  # (T,) whether the whole report is one
    overlaps: bool  # the cases themselves had to serve, as there are no others


@dataclass(frozen=True)
class ImageScreen:
    """N images against the training split in S spaces."""

    # distances, rows: (S, N) of the nearest training image, mirrored or not
    distances: np.ndarray
    rows: np.ndarray
    authentic: np.ndarray  # (S, N) bool
    flagged: np.ndarray  # (S, N) bool
    severity: np.ndarray  # (N,) below 1 where flagged
    planted_found: np.ndarray  # (P,) bool, which planted copies are flagged in some space
    planted_on_top: int  # how many of them are among the P most severe of all that is not flagged, and themselves

    @property
    def any_flagged(self) -> np.ndarray:
        """(N,) bool: flagged in some space."""
        return np.asarray(self.flagged.any(axis=0))


class Screen:
    """Screens samples of the cases' geometry, for all systems of a run. `alpha`: share of unseen images that may be flagged,
    over all spaces together; each has alpha / S. `spaces`: pixels, then those of the context. `problems`: why a space of the
    context cannot be used, by its name. Raises UserError: no training pairs, no held-out pairs, an unreadable image."""

    def __init__(self, dataset: PairDataset, cases: Cases, context: Context, alpha: float = ALPHA) -> None:
        self.alpha, self.seed, self.cases = alpha, context.seed, cases
        self.index = TrainingIndex(dataset, cases[0].image.width, context.training_folder)
        self.problems: dict[str, str] = {}
        banks: dict[str, FeatureBank] = {}
        for spec in context.features:
            try:
                banks[spec] = context.bank(spec)
            except UserError as error:
                self.problems[spec] = str(error)
        failed = self.index.prepare(list(banks.values()))
        self.spaces = [Space(PIXELS, None)]
        for spec, bank in banks.items():
            if bank.space.fingerprint in failed:
                self.problems[spec] = str(failed[bank.space.fingerprint])
            else:
                self.spaces.append(Space(bank.space.title, bank))

    @cached_property
    def null(self) -> Null:
        """Measured once, and stored beside the index."""
        chosen, overlaps = self._held_out()
        spaces = [space.bank and space.bank.space.fingerprint for space in self.spaces]
        path = self.index.folder / f"held-out-{hash_of([chosen, spaces])}.npz"
        if path.is_file():
            with np.load(path, allow_pickle=False) as stored:
                return Null(stored["distances"], stored["shares"], stored["verbatim"], overlaps)
        pairs = [self.index.dataset.pair(split, row) for split, row in chosen]
        views: dict[str, list[np.ndarray]] = {}
        with tqdm(total=len(pairs), desc="held-out images, for the thresholds", unit="image", file=sys.stderr) as progress:
            for start in range(0, len(pairs), _SHOWN):
                images = [pixels(pair, self.index.side) for pair in pairs[start : start + _SHOWN]]
                for space in self.spaces:
                    views.setdefault(space.title, []).append(space.views(images))
                progress.update(len(images))
        patients = patient_numbers([pair.patient for pair in pairs])
        near = [self._nearest(space, np.concatenate(views[space.title]), patients)[0] for space in self.spaces]
        distances = np.stack([one.distances for one in near])
        texts = Hashed.of([pair.report for pair in pairs])
        found = copied(texts, self.index.texts(), patients=patients)
        there = texts.whole != NO_TEXT
        null = Null(distances[:, np.isfinite(distances).all(axis=0)], found.share[there], found.verbatim[there], overlaps)
        write_arrays(path, distances=null.distances, shares=null.shares, verbatim=null.verbatim)
        return null

    @cached_property
    def thresholds(self) -> list[Threshold]:
        """By space."""
        return [threshold_of(distances, self.alpha / len(self.spaces)) for distances in self.null.distances]

    @cached_property
    def text_threshold(self) -> Threshold | None:
        """Of the share of 8-grams, above which a report is flagged, as a distance 1 - share; None without held-out reports."""
        return threshold_of(1 - self.null.shares, self.alpha) if len(self.null.shares) else None

    @cached_property
    def duplicates(self) -> float:
        """Share of training images that have an equal thumbnail among the others."""
        return duplicate_share(self.index.all_thumbnails())

    def images(self, images: Sequence[Image.Image]) -> ImageScreen:
        """Screens images of the index's side, with planted copies among them."""
        planted = self._planted()
        count = len(images)
        distances, rows, are_authentic = [], [], []
        for space in self.spaces:
            either, plain = self._nearest(space, space.views([*images, *planted]))
            distances.append(either.distances)
            rows.append(either.rows[:count])
            matched, place = np.unique(plain.rows[:count], return_inverse=True)
            own = nearest(self.index.at(matched, space.bank), self.index.rows(space.bank), own=matched)
            are_authentic.append(authentic(plain.distances[:count], own.distances[place]))
        table = np.stack(distances)
        limits = [threshold.distance for threshold in self.thresholds]
        flagged = table < np.array(limits)[:, None]
        severe = severity(table, limits)
        passed = ~flagged[:, :count].any(axis=0)
        planted_found = np.asarray(flagged[:, count:].any(axis=0))
        on_top = found_on_top(severe[count:], severe[:count][passed])
        ours = table[:, :count], np.stack(rows), np.stack(are_authentic), flagged[:, :count], severe[:count]
        return ImageScreen(*ours, planted_found, on_top)

    def reports(self, reports: Sequence[str]) -> Copied:
        """Looks for reports in the training reports."""
        return copied(Hashed.of(reports), self.index.texts())

    def _nearest(self, space: Space, views: np.ndarray, patients: np.ndarray | None = None) -> tuple[Nearest, Nearest]:
        whose = None if patients is None else np.repeat(patients, views.shape[1])
        return nearest_of_views(views, lambda queries: nearest(queries, self.index.rows(space.bank), patients=whose))

    def _planted(self) -> list[Image.Image]:
        count = min(PLANTED, self.index.size)
        chosen = np.random.default_rng([self.seed, count]).choice(self.index.size, size=count, replace=False)
        images = self.index.images(chosen)
        return [*images[: count // 2], *altered_copies(images[count // 2 :])]

    def _held_out(self) -> tuple[list[tuple[str, int]], bool]:
        """Up to `HELD_OUT` pairs of the splits that are not trained on, one a study, at random, as (split, row).
        The cases are left out, so that the null is independent of the anchor `real`, unless too few others are there."""
        dataset, needed = self.index.dataset, round(len(self.spaces) / self.alpha) - 1
        places = [(split, row) for split in ("val", "test") for row in range(dataset.size(split))]
        order = np.random.default_rng(self.seed).permutation(len(places))
        cases = {case.id for case in self.cases}
        chosen: list[tuple[str, int]] = []
        spare: list[tuple[str, int]] = []
        studies: set[tuple[str, str]] = set()
        for number in order:
            keys = keys_of(dataset, *places[number])
            study = keys.patient, keys.study
            if study not in studies:
                studies.add(study)
                (spare if keys.id in cases else chosen).append(places[number])
            if len(chosen) == HELD_OUT:
                break
        if not chosen and not spare:
            raise UserError(f"data set '{dataset.name}' has no held-out pairs: nothing says how near an unseen image lies")
        if len(chosen) >= needed or not spare:
            return chosen, False
        return [*chosen, *spare][:HELD_OUT], True
