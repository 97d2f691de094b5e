"""How to read each metric: the explanations of `guide.json` that a page needs."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Entry:
    """One explanation; it is shown where a metric on the page matches the regular expression `pattern`.

    Attributes:
        text: how to read it.
        limits: what it cannot tell.
    """

    pattern: str
    title: str
    text: str
    limits: str


def entries_for(metrics: Iterable[str]) -> list[Entry]:
    """The explanations that some metric of the page needs, in the order of the file."""
    names = list(metrics)
    entries = [Entry(**entry) for entry in json.loads(files("leaderboard.site").joinpath("guide.json").read_text("utf-8"))]
    return [entry for entry in entries if any(re.search(entry.pattern, name) for name in names)]
