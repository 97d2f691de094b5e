"""Error rates of verdicts and coverage of intervals, simulated where the truth is known.

Value of training s of system a on patient p, for `PATIENTS` patients:

    x[a, s, p] = level[p] + difficulty[a, p] + seed[a, s] + noise[a, s, p]      N(0, 1), N(0, 0.7^2), N(0, sd^2), N(0, 0.7^2)

The systems do not differ, so that every verdict is false. A third one stands `MARGIN` above the second: a verdict of
non-inferiority or equivalence to it at that margin is false, too. Boards, augmentation and ablations call the same functions.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from tasks.augmentation.statistics import Crossed
from tasks.metrics.clinical.findings import micro_f1_of_sums
from tasks.metrics.statistics.additive import Additive
from tasks.metrics.statistics.paired import ALPHA, System, compare_all, verdict

RUNS = 4000  # a rate of 5 % is then known to 0.35 %
PATIENTS, MARGIN = 200, 0.3
TRAININGS, SPREADS = (2, 3, 5), (0.1, 0.3)
SHORT = (15, 20, 30, 50, 100, 200)
MOST_FALSE, LEAST_COVERED, MOST_NON_INFERIOR, MOST_EQUIVALENT = 0.06, 0.93, 0.03, 0.06
_RESAMPLES = 999
_NAMES = tuple(map(str, range(PATIENTS)))


@dataclass(frozen=True)
class Rate:
    """One figure of a simulation."""

    # what, setting: the statement and its circumstances
    what: str
    setting: str
    value: float  # the rate, or a difference ("found in 80 %")
    bound: float | None = None  # what it must not exceed (`most`) or fall below; None where it is only shown
    most: bool = True

    @property
    def failed(self) -> bool:
        return self.bound is not None and (self.value > self.bound if self.most else self.value < self.bound)


def rates(runs: int = RUNS) -> Iterator[Rate]:
    """All figures in turn, with a progress bar."""
    count = len(TRAININGS) * len(SPREADS) + len(SHORT) * len(_SHAPES)
    with tqdm(total=count * runs, unit="run", smoothing=0, mininterval=1) as bar:
        for trainings in TRAININGS:
            for spread in SPREADS:
                yield from _verdicts(trainings, spread, runs, bar)
        for name, shape in _SHAPES.items():
            for patients in SHORT:
                yield _short(name, shape, patients, runs, bar)


def _verdicts(trainings: int, spread: float, runs: int, bar: "tqdm[None]") -> Iterator[Rate]:
    generator = np.random.default_rng([trainings, int(1000 * spread)])
    said: dict[str, list[float]] = {}
    for _ in range(runs):
        one, other = _systems(trainings, spread, generator)
        above = [Additive(np.add(entry.sums, [MARGIN, 0]), _NAMES, "mean") for entry in other]
        for kind, matched in (("board", False), ("by seed", True)):
            systems = {"one": System(one), "other": System(other), "above": System(above)}
            found = compare_all(systems, 0, _RESAMPLES, permutations=1, matched=matched)
            null, below = found["one", "other"], found["one", "above"]
            low, high = null.interval.low or 0.0, null.interval.high or 0.0
            note = said.setdefault
            note(f"false verdict, {kind}", []).append(verdict(null, null.p, True) != "not separable")
            note(f"coverage, {kind}", []).append(low <= 0 <= high)
            note(f"false non-inferiority, {kind}", []).append(verdict(below, 1.0, True, MARGIN) == "non-inferior")
            note(f"found in 80 %, {kind}", []).append(-low)
            note(f"stated as found in 80 %, {kind}", []).append(null.smallest_found(ALPHA) or 0.0)
        arms = Crossed({"one": one, "above": above}, resamples=_RESAMPLES)
        said.setdefault("false equivalence", []).append(bool(arms.equivalence("one", "above", MARGIN).equivalent))
        bar.update()
    setting = f"{trainings} trainings, sd {spread:g}"
    for what, values in said.items():
        if what.startswith("found"):
            yield Rate(what, setting, float(np.quantile(values, 0.8)))
        elif what.startswith("stated"):
            yield Rate(what, setting, float(np.median(values)))
        else:
            yield Rate(what, setting, float(np.mean(values)), *_BOUNDS[what.partition(",")[0]])


def _systems(trainings: int, spread: float, generator: np.random.Generator) -> list[list[Additive]]:
    level = generator.normal(size=PATIENTS)
    systems = []
    for _ in range(2):
        values = level + 0.7 * generator.normal(size=PATIENTS) + 0.7 * generator.normal(size=(trainings, PATIENTS))
        values += spread * generator.normal(size=(trainings, 1))
        systems.append([Additive.mean(row, _NAMES) for row in values])
    return systems


def _short(name: str, shape: tuple["Draw", str, float], patients: int, runs: int, bar: "tqdm[None]") -> Rate:
    draw, combine, truth = shape
    generator, names = np.random.default_rng([patients, 7]), tuple(map(str, range(patients)))
    held = 0
    for _ in range(runs):
        interval = Additive(draw(generator, patients), names, combine).interval(0, _RESAMPLES)
        held += interval.low is not None and interval.high is not None and interval.low <= truth <= interval.high
        bar.update()
    return Rate(f"coverage, {name}", f"{patients} patients", held / runs, LEAST_COVERED, False)


Draw = Callable[[np.random.Generator, int], np.ndarray]
_F1, _RARE = np.array([0.5, 0.15, 0.2]), np.array([0.09, 0.02, 0.03])  # chances of a hit, a false alarm and a miss


def _share(generator: np.random.Generator, count: int) -> np.ndarray:
    """Hits of 10 samples a patient, whose chances are alike (correlation 0.3) around 0.9."""
    chances = generator.beta(0.9 * 7 / 3, 0.1 * 7 / 3, size=count)
    return np.stack([generator.binomial(10, chances), np.full(count, 10)], axis=1).astype(float)


def _mean_of(values: np.ndarray) -> np.ndarray:
    return np.stack([values, np.ones(len(values))], axis=1)


def _f1_sums(samples: int, chances: np.ndarray) -> Draw:
    """Hits, false alarms and misses of so many samples a patient."""
    every = [*chances, 1 - chances.sum()]
    return lambda generator, count: generator.multinomial(samples, every, size=count)[:, :3].astype(float)


def _true_f1(chances: np.ndarray) -> float:
    return float(micro_f1_of_sums(chances[None])[0])


_SHAPES: dict[str, tuple[Draw, str, float]] = {
    "normal mean": (lambda generator, count: _mean_of(generator.normal(size=count)), "mean", 0.0),
    "exponential mean": (lambda generator, count: _mean_of(generator.exponential(size=count)), "mean", 1.0),
    "share of several samples": (_share, "proportion", 0.9),
    "F1 of a rare label": (_f1_sums(2, _RARE), "micro-f1", _true_f1(_RARE)),
    "F1": (_f1_sums(3, _F1), "micro-f1", _true_f1(_F1)),
}
_BOUNDS = {
    "false verdict": (MOST_FALSE, True),
    "coverage": (LEAST_COVERED, False),
    "false non-inferiority": (MOST_NON_INFERIOR, True),
    "false equivalence": (MOST_EQUIVALENT, True),
}


def table(found: Sequence[Rate]) -> str:
    """A line for each statement, a column for each setting."""
    lines: list[str] = []
    for kind in (" trainings", " patients"):
        here = [rate for rate in found if kind in rate.setting]
        settings = list(dict.fromkeys(rate.setting for rate in here))
        width = max((len(rate.what) for rate in here), default=0)
        lines += ["", f"{'':{width}}  " + "  ".join(f"{setting:>20}" for setting in settings)]
        for what in dict.fromkeys(rate.what for rate in here):
            cells = {rate.setting: rate for rate in here if rate.what == what}
            lines.append(f"{what:{width}}  " + "  ".join(f"{_cell(cells[setting]):>20}" for setting in settings))
    return "\n".join(lines[1:])


def _cell(rate: Rate) -> str:
    if rate.bound is None:
        return f"{rate.value:.2f}"
    return f"{rate.value:.1%}" + (f" ! {'>' if rate.most else '<'} {rate.bound:.0%}" if rate.failed else "")
