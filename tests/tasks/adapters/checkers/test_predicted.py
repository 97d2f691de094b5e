"""A table of probabilities answers for the images that it lists, by file or id, and for no others."""

import numpy as np
import pytest
from PIL import Image

from medim.common.errors import UserError
from medim.imaging.images import square
from tasks.adapters.checkers.kinds import Classifier
from tasks.adapters.checkers.predicted import PredictedLabels


def picture(level: int, size: tuple[int, int] = (12, 8)) -> Image.Image:
    return Image.new("RGB", size, (level, level, level))


@pytest.fixture
def table(tmp_path):
    (tmp_path / "samples").mkdir()
    picture(10).save(tmp_path / "samples" / "a.png")
    path = tmp_path / "p.csv"
    path.write_text("image,Effusion,Edema\nsamples/a.png,0.9,0.1\ncase-7,0.2,0.8\n")
    return path


def test_files_and_ids_are_known_by_their_pixels(table):
    one = PredictedLabels(table)
    assert isinstance(one, Classifier)
    assert one.labels == ("Effusion", "Edema")
    case, sample = square(picture(77), 8), square(picture(10), 8)
    one.meet({"case-7": case, "case-8": square(picture(78), 8)})
    np.testing.assert_allclose(one.probabilities([case.copy(), sample]), [[0.2, 0.8], [0.9, 0.1]])
    assert one.probabilities([]).shape == (0, 2)
    assert one.lacks([case, sample]) is None


def test_an_image_without_a_row_is_refused(table):
    one = PredictedLabels(table)
    one.meet({"case-7": square(picture(77), 8)})
    with pytest.raises(UserError, match=r"p\.csv' has no row for 1 of 2 images: list samples by their files") as error:
        one.probabilities([square(picture(10), 8), square(picture(11), 8)])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,Effusion\na,1\n", "image"),
        ("image\na\n", "no column of a label"),
        ("image,Effusion\na,0.5\nb,1.5\n", r"p.csv:3: column 'Effusion': '1.5' is no probability"),
        ("image,Effusion\na,yes\n", r"p.csv:2: column 'Effusion': 'yes'"),
        ("image,Effusion\na,nan\n", "'nan' is no probability"),
        ("image,Effusion\na,1\na,0\n", "p.csv:3: image 'a' has a row already"),
        ("image,Effusion\na,1,2\n", "p.csv:2"),
    ],
)
def test_mistakes_name_file_line_and_column(text, message, tmp_path):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        PredictedLabels(tmp_path / "p.csv")
