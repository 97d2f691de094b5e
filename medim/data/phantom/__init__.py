"""Synthetic data sets with known findings, two versions ("worlds") under one protocol; both are frozen."""
