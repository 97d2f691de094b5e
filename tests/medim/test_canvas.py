"""Layout, vocabulary and canvas: every position has its modality, and what is given stays."""

import pytest
import torch

from medim.canvas import Canvas, Layout
from medim.vocabulary import Vocabulary


@pytest.fixture(params=["image-report", "report-image"])
def layout(request) -> Layout:
    return Layout(Vocabulary(text=10, codes=4), image_length=3, report_length=5, order=request.param)


def test_ids_do_not_overlap():
    v = Vocabulary(text=10, codes=4)
    assert [v.mask, v.begin_image, v.end_image, v.image_offset, v.size] == [10, 11, 12, 13, 17]
    assert v.image_codes(v.image_ids(torch.arange(4))).tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="no image code"):
        v.image_codes(torch.tensor([v.mask]))


def test_every_position_has_one_role(layout):
    positions = [*range(layout.length)]
    image, report = positions[layout.image], positions[layout.report]
    v = layout.vocabulary
    assert len(image) == 3
    assert len(report) == 5
    assert not set(image) & set(report)
    rest = sorted(set(positions) - set(image) - set(report))
    assert rest == [image[0] - 1, image[-1] + 1]
    assert layout.structure[rest].tolist() == [v.begin_image, v.end_image]


@pytest.mark.parametrize("order", ["image-report", "report-image"])
def test_text_beside_the_report_is_structure(order):
    layout = Layout(Vocabulary(text=10, codes=4), 3, 5, order, before_report=(7, 8), after_report=(9,))
    mask, begin, end = layout.vocabulary.mask, layout.vocabulary.begin_image, layout.vocabulary.end_image
    report, image = [7, 8, *[mask] * 5, 9], [begin, *[mask] * 3, end]
    assert layout.structure.tolist() == (image + report if order == "image-report" else report + image)
    assert Canvas.blank(layout, 1).given.sum() == 5
    assert Canvas.blank(layout, 1).masked_fraction().tolist() == [[1.0, 1.0]]


def test_given_tokens_are_in_place_and_the_rest_is_masked(layout):
    codes, report = torch.tensor([[0, 1, 2]]), torch.tensor([[5, 6, 7, 8, 9]])
    canvas = Canvas.blank(layout, 1).give_image(codes)
    assert canvas.masked_fraction().tolist() == [[0.0, 1.0]]
    assert canvas.image_codes().tolist() == codes.tolist()
    partly = torch.tensor([[True, True, False, False, False]])
    canvas = Canvas.blank(layout, 1).give_report(report, partly)
    mask = layout.vocabulary.mask
    assert canvas.report_tokens().tolist() == [[5, 6, mask, mask, mask]]
    torch.testing.assert_close(canvas.masked_fraction(), torch.tensor([[1.0, 0.6]]))
    assert int(canvas.given.sum()) == 4


def test_join_holds_both(layout):
    codes, report = torch.tensor([[3, 0, 1]]), torch.tensor([[1, 2, 3, 4, 5]])
    canvas = Canvas(layout, layout.join(codes, report), torch.ones(1, layout.length, dtype=torch.bool))
    assert not canvas.masked.any()
    assert canvas.image_codes().tolist() == codes.tolist()
    assert canvas.report_tokens().tolist() == report.tolist()
