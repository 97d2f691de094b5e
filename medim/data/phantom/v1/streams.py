"""Random streams by name: everything in the phantom is a pure function of (version, split, index)."""

from typing import Literal

import numpy as np

from medim.data.phantom.v1.names import DOMAINS, VERSION
from medim.pair import SPLITS

Purpose = Literal["build", "case", "picture", "report"]
_PURPOSES: tuple[Purpose, ...] = ("build", "case", "picture", "report")


def stream(split: str, purpose: Purpose, *key: int) -> np.random.Generator:
    """An independent generator for one purpose of one split; `key` is the case's index or the patient's number."""
    entropy = [VERSION, SPLITS.index(split), _PURPOSES.index(purpose), *key]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))


def patient_stream(split: str, domain: str, patient: int) -> np.random.Generator:
    """The generator of what a patient's studies share."""
    return stream(split, "build", DOMAINS.index(domain), patient)
