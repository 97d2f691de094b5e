"""From pixels to tokens, and from a changed report to the tokens it concerns."""

import numpy as np
import pytest
import torch
from PIL import Image

from medim.common.errors import UserError
from medim.sampling.editing.regions import concerned, holding, largest, token_mask


def test_every_token_that_a_box_touches():
    found = token_mask((31, 0, 2, 9), (64, 64), 8)
    expected = np.zeros((8, 8), bool)
    expected[0:2, 3:5] = True
    assert (found == expected).all()


def test_a_wide_image_is_padded_above_and_below():
    """64 x 32 pixels stand in rows 16 to 47 of the square."""
    picture = Image.new("L", (64, 32), 0)
    picture.putpixel((0, 0), 255)
    assert np.argwhere(token_mask(picture, (64, 32), 8)).tolist() == [[2, 0]]
    assert np.argwhere(token_mask(np.eye(32, 64, dtype=bool), (64, 32), 4)).tolist() == [[1, 0], [2, 1]]


def test_a_pixel_larger_than_a_token_covers_all_it_covers():
    assert token_mask(np.array([[True, False], [False, False]]), (2, 2), 8).sum() == 16


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ((0, 0, 65, 2), "not inside an image of 64 x 64"),
        ((-1, 0, 2, 2), "not inside"),
        (np.zeros((64, 64)), "marks no pixel"),
        (np.ones((32, 64)), "does not fit"),
    ],
)
def test_masks_that_do_not_fit_are_refused(mask, message):
    with pytest.raises(UserError, match=message):
        token_mask(mask, (64, 64), 8)


def test_the_largest_are_looked_for_with_their_neighbours():
    weight = torch.zeros(1, 16)
    weight[0, 15] = 1.0  # alone in its corner: its mean over four is 1/4
    weight[0, [0, 1, 4]] = 0.9  # three in the other: 2.7/4 in the corner itself
    assert largest(weight, 1 / 16).nonzero().tolist() == [[0, 0]]
    assert largest(weight, 0.25).sum() == 4


def test_the_fewest_tokens_that_hold_a_share():
    weight = torch.tensor([[5.0, 3.0, 1.0, 1.0, -9.0], [0.0, 0.0, 0.0, 0.0, 1e-3]])
    assert holding(weight, 0.5).tolist() == [[True, False, False, False, False], [False] * 4 + [True]]
    assert holding(weight, 0.51)[0].tolist() == [True, True, False, False, False]
    assert holding(weight, 1.0)[0].tolist() == [True, True, True, True, False]
    assert holding(-weight.abs(), 0.5).sum(1).tolist() == [1, 1]


def test_a_changed_report_concerns_the_tokens_that_depend_on_it(toy, monkeypatch):
    """Of a law in which the first code follows the report and the others do not."""
    code, words = toy.states[:, 0], toy.states[:, 4]
    law = torch.where((code == 1) == (words == 1), 0.95, 0.05).double()
    monkeypatch.setitem(toy.hidden.__func__.__globals__, "LAW", law / law.sum())
    image = torch.tensor([[0, 1, 0, 1]])
    before, after = (toy.blank(1, report).give_image(image) for report in ([0, 0], [1, 0]))
    monkeypatch.setattr("medim.sampling.editing.regions.holding", lambda weight, share: weight)
    weight = concerned(toy, before, after, 0.25, [3])[0]
    assert weight[0] == pytest.approx(np.log(0.95 / 0.05), rel=1e-3)
    assert weight[1:].abs().max() < 1e-3
