"""Synthetic data sets with known findings, two versions ("worlds") under one protocol; both are frozen."""

DEFAULT = "phantom"  # the world that is used where no data set is named: by the self-test, speed measurements and tests
