"""Cohorts: which patient a case belongs to, and streams that depend on their name alone."""

import numpy as np
import pytest

from medim.common.errors import UserError
from medim.data.phantom.dataset import Cohort

COHORT = Cohort("toy", 7, {"train": 40, "val": 8}, studies=(1, 3), purposes=("case", "picture"), digits=3)


def test_patients_come_as_often_as_the_pattern_says():
    places = [COHORT.locate("train", index) for index in range(0, 12, 2)]
    assert [place[1:] for place in places] == [(0, 0), (1, 0), (1, 1), (1, 2), (2, 0), (3, 0)]
    assert [COHORT.locate("train", index)[0] for index in range(2)] == ["chest-xray", "pathology"]


def test_keys_are_written_with_their_digits():
    assert COHORT.keys("val", 5) == ("toy-val-005", "toy-val-p001-s1", "toy-val-p001")


def test_unknown_splits_and_outside_indices_are_named():
    with pytest.raises(UserError, match="unknown split 'vall'; did you mean 'val'"):
        COHORT.size("vall")
    for index in (-1, 8):
        with pytest.raises(IndexError, match="toy val has 8 pairs; index"):
            COHORT.locate("val", index)


def test_streams_are_independent_by_purpose_split_and_index():
    keys = [("train", "case", 0), ("train", "picture", 0), ("val", "case", 0), ("train", "case", 1)]
    assert len({COHORT.stream(*key).random() for key in keys}) == 4
    assert COHORT.stream("train", "case", 0).random() == COHORT.stream("train", "case", 0).random()
    one, other = (COHORT.patient_stream("train", "case", domain, 3) for domain in ("chest-xray", "pathology"))
    assert not np.array_equal(one.random(4), other.random(4))
