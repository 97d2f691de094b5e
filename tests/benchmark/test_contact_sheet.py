import numpy as np
from PIL import Image

from benchmark.contact_sheet import CELL, MARGIN, MOST, write_contact_sheet


def test_small_images_are_enlarged_without_smoothing(tmp_path):
    checker = Image.fromarray((np.indices((8, 8)).sum(0) % 2 * 255).astype(np.uint8)).convert("RGB")
    write_contact_sheet(tmp_path / "s.png", [checker] * 3, [None] * 3)
    with Image.open(tmp_path / "s.png") as sheet:
        assert sheet.size == (3 * (CELL + MARGIN) + MARGIN, CELL + 2 * MARGIN)
        cell = np.asarray(sheet)[MARGIN : MARGIN + CELL, MARGIN : MARGIN + CELL]
    assert set(np.unique(cell)) == {0, 255}
    side = CELL // 8
    assert (cell[side // 2 :: side, side // 2 :: side, 0] == np.asarray(checker)[..., 0]).all()


def test_captions_are_printed_below_and_the_number_is_bounded(tmp_path):
    images = [Image.new("RGB", (300, 100), "red")] * (MOST + 5)
    write_contact_sheet(tmp_path / "s.png", images, ["no effusion. " * 40] * len(images))
    with Image.open(tmp_path / "s.png") as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape[1] == 6 * (CELL + MARGIN) + MARGIN
    assert pixels.shape[0] > 11 * CELL
    below = pixels[MARGIN + CELL : MARGIN + CELL + 100, MARGIN : MARGIN + CELL]
    assert (below.sum(-1) < 200).mean() > 0.02  # ink
