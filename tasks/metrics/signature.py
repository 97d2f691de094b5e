"""What has to be equal for two values of a metric to be comparable."""

from importlib.metadata import version
from typing import Any

METRICS_VERSION = "1"
"""Raised whenever a value computed here could change on the same input."""


def signature(metric: str, n: int, protocol: str, **details: Any) -> dict[str, Any]:
    """A JSON-able signature: metric, version of this package's definitions, protocol, n, and what the metric adds."""
    return {"metric": metric, "version": METRICS_VERSION, "protocol": protocol, "n": n, **details}


def package(name: str) -> str:
    """`name` and its installed version, e.g. `pycocoevalcap 1.2`."""
    return f"{name} {version(name)}"
