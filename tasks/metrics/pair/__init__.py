"""Metrics of an image and its report together."""
