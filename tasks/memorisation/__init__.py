"""Samples screened for copies of training pairs."""
