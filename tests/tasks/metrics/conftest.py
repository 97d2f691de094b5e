"""Real reports, and what a system that loses words would make of them."""

import csv
import json
from collections.abc import Callable

import numpy as np
import pytest


def _dropped(text: str, generator: np.random.Generator, share: float = 0.12) -> str:
    """The text in lower case without about `share` of its words."""
    return " ".join(word for word in text.lower().split() if generator.random() > share)


@pytest.fixture(scope="session")
def dropped() -> Callable[..., str]:
    return _dropped


@pytest.fixture(scope="session")
def findings(shared_data) -> list[str]:
    """The findings sections of real chest X-ray reports, in the order of the file."""
    path = shared_data / "text" / "iu_ratchet" / "openi_metadata_dataset_chexpert_labels.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        return [row["FINDINGS"] for row in csv.DictReader(stream)]


@pytest.fixture(scope="session")
def degraded(shared_data, findings) -> Callable[[int], tuple[list[str], list[str]]]:
    """N references, four of five from chest X-ray reports and the rest pathology captions; and N hypotheses.

    Most hypotheses lack words; some are another case's, some have their words in another order, two are empty or foreign.
    """
    captions = json.loads((shared_data / "text" / "pathgen" / "PathGen-1.6M_sample.json").read_text(encoding="utf-8"))

    def make(count: int) -> tuple[list[str], list[str]]:
        chest = count * 4 // 5
        references = findings[:chest] + [caption["caption"] for caption in captions[: count - chest]]
        generator = np.random.default_rng(0)
        hypotheses = [_dropped(text, generator) for text in references]
        for index in range(0, count, 5):
            hypotheses[index] = hypotheses[int(generator.integers(count))]
        for index in range(1, count, 17):
            hypotheses[index] = " ".join(generator.permutation(hypotheses[index].split()))
        hypotheses[3], hypotheses[4] = "", "nothing alike"
        return references, hypotheses

    return make
