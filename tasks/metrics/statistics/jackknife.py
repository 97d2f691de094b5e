"""Intervals of statistics that a bootstrap would bias: groups of patients are left out, none is drawn twice."""

from collections.abc import Sequence

import numpy as np

from tasks.metrics.statistics.bootstrap import Interval

GROUPS = 15  # as many as an interval needs patients
METHOD = f"t, jackknife over {GROUPS} groups of patients"
_T14_975 = 2.1447866879169273


def patient_groups(sides: Sequence[Sequence[str]], seed: int) -> list[np.ndarray]:
    """Deals the patients into `GROUPS` random groups of equal size (but for one): a group number for each sample of each side.

    A patient has one group on all sides. Those who first occur on a later side are dealt for themselves, so that every side
    loses a like share with each group.
    """
    generator = np.random.default_rng(seed)
    group: dict[str, int] = {}
    for patients in sides:
        new = [patient for patient in dict.fromkeys(patients) if patient not in group]
        group |= {new[index]: place % GROUPS for place, index in enumerate(generator.permutation(len(new)))}
    return [np.array([group[patient] for patient in patients]) for patients in sides]


def standard_error(replicates: np.ndarray) -> float:
    """Of the full value, from the values (G,) with one of G groups left out: v = (G - 1) / G sum (x_g - mean)^2.

    Delete-d jackknife over random disjoint groups (Shao and Wu 1989; Kott 2001). Deviations are taken from the replicates' own
    mean: where a statistic's bias grows as samples go, that growth is no spread.
    """
    groups = len(replicates)
    return float(np.sqrt((groups - 1) / groups * ((replicates - replicates.mean()) ** 2).sum()))


def t_interval(value: float, error: float) -> Interval:
    """95 % around `value`, for a standard error with `GROUPS` - 1 degrees of freedom."""
    return Interval(value - _T14_975 * error, value + _T14_975 * error)
