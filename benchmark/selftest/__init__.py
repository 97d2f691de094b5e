"""Metrics, labellers and statistics checked against known answers."""
