"""Pictures that declare more pixels than anyone means, refused by their header: the files here hold no pixels at all."""

import json
import struct
import zlib

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from benchmark.cli import main
from medim.common.errors import UserError
from medim.imaging.image_files import VARIABLE
from medim.imaging.images import read_image
from tasks.adapters.predictions_file import read_predictions


def png_header(path, width, height):
    """A grey PNG of which only the header and a line of pixels are there."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(bytes(width + 1)))
        + chunk(b"IEND", b"")
    )
    return path


@pytest.mark.parametrize(
    ("side", "says"),
    [
        (10_000, r"declares 10000 x 10000 = 100,000,000 pixels and 67,108,864 are allowed"),
        (13_000, "declares 169,000,000 pixels and 67,108,864 are allowed"),
        (30_000, "declares 900,000,000 pixels and 67,108,864 are allowed"),
    ],
)
def test_a_huge_picture_is_refused_by_its_header(tmp_path, side, says, recwarn):
    with pytest.raises(UserError, match=rf"image '.*x\.png' cannot be read: it {says}; MEDIM_MAX_PIXELS=N"):
        read_image(png_header(tmp_path / "x.png", side, side))
    assert not recwarn.list


def test_the_limit_is_the_users(tmp_path, monkeypatch):
    Image.new("L", (20, 10)).save(tmp_path / "x.png")
    monkeypatch.setenv(VARIABLE, "199")
    with pytest.raises(UserError, match="declares 20 x 10 = 200 pixels and 199 are allowed"):
        read_image(tmp_path / "x.png")
    monkeypatch.setenv(VARIABLE, "200")
    assert read_image(tmp_path / "x.png").size == (20, 10)
    monkeypatch.setenv(VARIABLE, "64MP")
    with pytest.raises(UserError, match="MEDIM_MAX_PIXELS must be a number of pixels, not '64MP'"):
        read_image(tmp_path / "x.png")


def test_a_dicom_file_by_its_rows_and_columns(tmp_path, monkeypatch):
    pydicom = pytest.importorskip("pydicom")
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    dataset.Rows, dataset.Columns = 40_000, 30_000
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation, dataset.PixelData = 7, 0, bytes(16)
    dataset.save_as(tmp_path / "x.dcm", enforce_file_format=True)
    with pytest.raises(UserError, match=r"x\.dcm' cannot be read: it declares 30000 x 40000 = 1,200,000,000 pixels"):
        read_image(tmp_path / "x.dcm")


def test_predictions_are_looked_at_before_any_is_decoded(tmp_path):
    png_header(tmp_path / "a.png", 9_000, 9_000)
    (tmp_path / "predictions.jsonl").write_text(json.dumps({"id": "a", "image": "a.png"}) + "\n")
    with pytest.raises(UserError, match=r"predictions\.jsonl:1: image 'a\.png': it declares 9000 x 9000"):
        read_predictions(tmp_path)


def test_prepare_loses_it_by_name_and_has_the_option(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv(VARIABLE, "100000000")  # so that the option's value goes with this test
    root = tmp_path / "root"
    root.mkdir()
    for name, side in (("small", 20), ("large", 40)):
        Image.fromarray(np.arange(side * side, dtype=np.uint8).reshape(side, side)).save(root / f"{name}.png")
        (root / f"{name}.txt").write_text("clear.")
    arguments = ["data", "prepare", "folder", "--root", str(root), "--workers", "0", "--max-pixels"]
    result = CliRunner().invoke(main, [*arguments, "1000", "--out", str(tmp_path / "few")])
    assert result.exit_code == 3, result.output
    assert "1 lost" in result.output
    assert "declares 40 x 40 = 1,600 pixels and 1,000 are allowed" in (tmp_path / "few" / "failures.jsonl").read_text()
    assert CliRunner().invoke(main, [*arguments, "1600", "--out", str(tmp_path / "all")]).exit_code == 0
