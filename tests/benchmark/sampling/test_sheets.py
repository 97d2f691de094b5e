import numpy as np
import pytest
from PIL import Image, ImageFont

from benchmark.sampling.sheets import (
    CARD,
    CARD_COLUMNS,
    CELL,
    MARGIN,
    MOST,
    Card,
    filled,
    write_contact_sheet,
    write_pair_sheet,
)


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


def test_a_sheet_of_pairs_shows_whole_reports_in_rows_of_their_own_height(tmp_path):
    short = Card(Image.new("RGB", (100, 50), "red"), ("id-1", "train"), "clear.")
    long = Card(Image.new("L", (600, 600), 90), ("id-2", "test"), "no effusion. " * 60)
    heights = []
    for cards in ([short], [long], [short] * CARD_COLUMNS + [long]):
        write_pair_sheet(tmp_path / "s.png", ["name", "terms"], cards)
        with Image.open(tmp_path / "s.png") as sheet:
            assert sheet.width == min(len(cards), CARD_COLUMNS) * (CARD + MARGIN) + MARGIN
            heights.append(sheet.height)
            pixels = np.asarray(sheet)
    assert heights[1] > heights[0] + CARD / 2 + 100  # a square picture, and about twenty lines more
    assert heights[0] < heights[2] <= heights[0] + heights[1]
    assert (pixels[-30:, :CARD].min(axis=2) < 100).any()  # the last lines are inside the sheet
    with pytest.raises(ValueError, match="needs a pair"):
        write_pair_sheet(tmp_path / "s.png", ["name"], [])


def test_lines_are_as_wide_as_the_card_and_keep_every_word():
    font = ImageFont.load_default(size=13)
    text = "supercalifragilisticexpialidocious" * 4 + " and the lungs are clear " * 9
    lines = list(filled(text, font, CARD))
    assert all(font.getlength(line) <= CARD for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
