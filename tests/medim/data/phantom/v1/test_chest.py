"""Each chest finding changes the picture where, and as, it should."""

import time
from types import MappingProxyType

import numpy as np
import pytest

from medim.data.phantom.labels import CHEST, LABELS_BY_DOMAIN
from medim.data.phantom.v1.cases import Case
from medim.data.phantom.v1.chest import draw_chest

# Rows and columns (of 64) of the patch that a finding must change, and whether it brightens.
HALVES = {"left": slice(34, 64), "right": slice(0, 30)}


def picture(*findings, seed=5, resolution=64, **attributes):
    named = {key.replace("_", " "): value for key, value in attributes.items()}
    case = Case("train", seed, CHEST, 1, 0, findings, MappingProxyType(named))  # the index is the seed of the pose
    return np.asarray(draw_chest(case, resolution)).astype(float)


def mean_picture(*findings, **attributes):
    """Averaged over poses, so that only what the finding does remains."""
    return np.mean([picture(*findings, seed=seed, **attributes)[:, :, 0] for seed in range(24)], axis=0)


@pytest.fixture(scope="module")
def normal():
    return mean_picture()


def test_channels_are_equal():
    pixels = picture("cardiomegaly")
    assert pixels.shape == (64, 64, 3)
    assert (pixels[:, :, 0] == pixels[:, :, 2]).all()


CASES = [
    ("effusion", "small", slice(40, 54), 1),
    ("effusion", "large", slice(30, 54), 1),
    ("consolidation", "upper", slice(8, 28), 1),
    ("consolidation", "lower", slice(32, 52), 1),
    ("nodule", "small", slice(20, 34), 1),
    ("nodule", "large", slice(18, 36), 1),
    ("pneumothorax", None, slice(6, 40), -1),
]


@pytest.mark.parametrize(("finding", "grade", "rows", "sign"), CASES)
@pytest.mark.parametrize("side", ["left", "right"])
def test_lateral_findings_stand_on_their_side_and_zone(normal, side, finding, grade, rows, sign):
    label = f"{side} {finding}"
    change = mean_picture(label, **({label.replace(" ", "_"): grade} if grade else {})) - normal
    other = HALVES["right" if side == "left" else "left"]
    inside = change[rows, HALVES[side]] * sign
    assert inside.max() > 25, "visible"
    largest = np.unravel_index(np.abs(change).argmax(), change.shape)
    assert rows.start <= largest[0] < rows.stop
    assert HALVES[side].start <= largest[1] < HALVES[side].stop
    assert np.abs(change[:, other]).max() < 0.3 * np.abs(change).max(), "the other side is untouched"


def test_sizes_differ():
    for finding in ("left_effusion", "right_nodule"):
        label = finding.replace("_", " ")
        area = {g: (np.abs(mean_picture(label, **{finding: g}) - mean_picture()) > 15).sum() for g in ("small", "large")}
        assert area["large"] > 1.5 * area["small"]


def test_cardiomegaly_widens_the_heart(normal):
    change = mean_picture("cardiomegaly") - normal
    row = change[42]
    assert row[44:50].mean() > 60
    assert row[18:24].mean() > 30
    assert np.abs(change[:24]).max() < 10


def test_edema_is_bilateral(normal):
    change = mean_picture("pulmonary edema") - normal
    assert change[24:32, 38:46].mean() > 30
    assert change[24:32, 18:26].mean() > 30


def test_devices(normal):
    pacemaker = mean_picture("pacemaker") - normal
    assert pacemaker[9:15, 48:54].mean() > 50
    assert np.abs(pacemaker[:, :28]).max() < 20
    tube = mean_picture("endotracheal tube") - normal
    assert tube[4:20, 30:34].mean() > 40
    assert np.abs(tube[:, :26]).max() < 10


@pytest.mark.parametrize("label", LABELS_BY_DOMAIN[CHEST])
def test_the_same_picture_at_another_resolution(label):
    kind = label.split()[-1]
    grade = {"effusion": "small", "nodule": "small", "consolidation": "upper"}.get(kind)
    attributes = {label.replace(" ", "_"): grade} if grade else {}
    small = picture(label, **attributes)
    large = picture(label, resolution=256, **attributes).reshape(64, 4, 64, 4, 3).mean(axis=(1, 3))
    assert np.abs(small - large).mean() < 6.0
    assert np.corrcoef(small.ravel(), large.ravel())[0, 1] > 0.98


def test_poses_differ_and_drawing_is_deterministic():
    assert (picture(seed=1) == picture(seed=1)).all()
    assert np.abs(picture(seed=1) - picture(seed=2)).mean() > 2.0


def test_drawing_takes_milliseconds():
    picture("cardiomegaly")
    began = time.process_time()
    for seed in range(20):
        picture("cardiomegaly", "pacemaker", "pulmonary edema", seed=seed)
    assert (time.process_time() - began) / 20 < 0.02  # about 1 ms; twenty leaves room for a busy machine
