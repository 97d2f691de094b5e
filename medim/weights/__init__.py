"""Weights from files: what a damaged file is, and that a network gets every tensor that it has."""
