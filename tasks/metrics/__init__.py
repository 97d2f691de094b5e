"""Metrics of texts, images and pairs, and the statistics of their values; below the tasks."""
