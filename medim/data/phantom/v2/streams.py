"""Random streams by name: everything in phantom version 2 is a pure function of (version, split, index)."""

from typing import Literal

import numpy as np

from medim.data.phantom.v2.names import DOMAINS, LABELS, VERSION
from medim.pair import SPLITS

Purpose = Literal["case", "patient", "build", "twin", "scene", "finding", "report", "noise", "labels"]
_PURPOSES: tuple[Purpose, ...] = ("case", "patient", "build", "twin", "scene", "finding", "report", "noise", "labels")


def stream(split: str, purpose: Purpose, *key: int) -> np.random.Generator:
    """An independent generator for one purpose of one split; `key` is what it belongs to, as integers."""
    entropy = [VERSION, SPLITS.index(split), _PURPOSES.index(purpose), *key]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))


def patient_stream(split: str, purpose: Purpose, domain: str, patient: int) -> np.random.Generator:
    """The generator of what a patient's studies share."""
    return stream(split, purpose, DOMAINS.index(domain), patient)


def finding_stream(split: str, domain: str, patient: int, label: str) -> np.random.Generator:
    """The generator of one finding's shape: the same at every visit, whatever else the patient has."""
    return stream(split, "finding", DOMAINS.index(domain), patient, LABELS.index(label))
