"""DICOM to 8 bits: every transform against its closed form, and refusals that name the file and what to install."""

import io
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

pydicom = pytest.importorskip("pydicom", reason="needs the extra 'archives'")

from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.encaps import encapsulate  # noqa: E402
from pydicom.pixels import apply_windowing  # noqa: E402
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, JPEGLossless, RLELossless  # noqa: E402

from medim.common.errors import UserError  # noqa: E402
from medim.imaging.dicom import read_dicom  # noqa: E402
from medim.imaging.images import read_image  # noqa: E402


def dicom(path, stored, bits=12, photometric="MONOCHROME2", syntax=ExplicitVRLittleEndian, data=None, **elements):
    """Writes a DICOM file of a stored array (H, W) or (H, W, 3); `elements` are set as they are named."""
    stored = np.asarray(stored)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.Rows, dataset.Columns = stored.shape[:2]
    dataset.SamplesPerPixel = stored.shape[2] if stored.ndim == 3 else 1
    if stored.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated = 8 * stored.dtype.itemsize
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelRepresentation = int(np.issubdtype(stored.dtype, np.signedinteger))
    dataset.Modality = "DX"
    for name, value in elements.items():
        setattr(dataset, name, value)
    content = stored.tobytes() if data is None else data
    dataset.PixelData = content + b"\0" * (len(content) % 2)
    dataset.save_as(path, enforce_file_format=True)
    return path


def table(entries, first, bits):
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    item.add_new("LUTData", "OW", np.asarray(entries, "<u2").tobytes())
    return item


def u16(*stored) -> np.ndarray:
    return np.array([stored], np.uint16)


def values(path) -> np.ndarray:
    image = read_dicom(path)
    assert image.mode == "L"
    return np.asarray(image)


RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def rounded(x) -> np.ndarray:
    return np.rint(np.clip(x, 0, 1) * 255).astype(int)


def test_8_bit_values_are_kept_and_monochrome1_is_inverted(tmp_path):
    stored = np.arange(10, 74, dtype=np.uint8).reshape(8, 8)
    assert (values(dicom(tmp_path / "a.dcm", stored, 8)) == stored).all()
    assert (values(dicom(tmp_path / "b.dcm", stored, 8, "MONOCHROME1")) == 255 - stored).all()


def test_deeper_data_without_a_window_span_their_own_range(tmp_path):
    stored = RAMP[:16] + 500  # 500 .. 1523 of a stated 16 bits: only 4 of 255 levels by the container
    path = dicom(tmp_path / "a.dcm", stored, 16)
    assert (values(path) == rounded((stored - 500.0) / 1023)).all()
    assert read_dicom(path).info["clipped"] == 0


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("rescale", [(1, 0), (2, -1000), (-1, 4095)])
def test_windows_equal_the_standard_library_of_the_format(tmp_path, function, rescale):
    path = dicom(
        tmp_path / "a.dcm",
        RAMP,
        WindowCenter=[1000.5, 3],
        WindowWidth=[700.25, 9],
        VOILUTFunction=function,
        RescaleSlope=rescale[0],
        RescaleIntercept=rescale[1],
    )
    x = RAMP * float(rescale[0]) + rescale[1]
    dataset = pydicom.dcmread(path)
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
    expected = apply_windowing(x, dataset) / 4095
    assert abs(values(path) - expected * 255).max() <= 0.5 + 1e-9
    clipped = read_dicom(path).info["clipped"]
    if function == "SIGMOID":
        assert clipped == 0
    else:
        assert clipped == pytest.approx(np.mean(abs(x - 1000) > 352), abs=0.002)


def test_a_linear_window_by_hand(tmp_path):
    path = dicom(tmp_path / "a.dcm", u16(0, 99, 100, 101, 128, 228, 355, 356, 4095), WindowCenter=228, WindowWidth=256)
    # PS3.3 C.11.2.1.2.1: x <= c - 0.5 - (w-1)/2 = 100 is black, x > 355 white, between ((x - 227.5) / 255 + 0.5) * 255
    assert values(path).tolist() == [[0, 0, 0, 1, 28, 128, 255, 255, 255]]
    assert read_dicom(path).info["clipped"] == pytest.approx(4 / 9)


def test_signed_data(tmp_path):
    stored = np.array([[-1000, 0, 1000]], np.int16)
    assert values(dicom(tmp_path / "a.dcm", stored, 16)).tolist() == [[0, 128, 255]]
    window = {"WindowCenter": 0, "WindowWidth": 1000, "VOILUTFunction": "LINEAR_EXACT"}
    assert values(dicom(tmp_path / "b.dcm", stored, 16, **window)).tolist() == [[0, 128, 255]]


def test_a_voi_table_goes_before_windows_and_its_range_is_what_its_entries_take(tmp_path):
    entries = np.arange(1024)[::-1]  # descending: a negative; the descriptor overstates its 10 bits as 16
    sequence = [table(entries, 100, 16)]
    path = dicom(tmp_path / "a.dcm", u16(0, 100, 611, 1123, 4000), VOILUTSequence=sequence, WindowCenter=5, WindowWidth=9)
    assert values(path).tolist() == [[255, 255, round(512 / 1023 * 255), 0, 0]]


def test_8_bit_table_of_more_than_256_entries(tmp_path):
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [512, 0, 8])
    item.add_new("LUTData", "OW", (np.arange(512) // 2).astype(np.uint8).tobytes())
    path = dicom(tmp_path / "a.dcm", u16(0, 2, 300, 511, 4000), VOILUTSequence=[item])
    assert values(path).tolist() == [[0, 1, 150, 255, 255]]


def test_modality_table(tmp_path):
    sequence = [table(np.array([5, 5, 4000, 12]), 1, 12)]
    path = dicom(tmp_path / "a.dcm", u16(0, 1, 3, 4, 9), ModalityLUTSequence=sequence)
    assert values(path).tolist() == [[0, 0, 255, rounded(7 / 3995), rounded(7 / 3995)]]


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_counts_for_nothing(tmp_path, photometric):
    stored = np.array([[1000, 1500, 2000, 63536]], np.uint16)
    path = dicom(tmp_path / "a.dcm", stored, 16, photometric, PixelPaddingValue=63536)
    ramp = [0, 128, 255] if photometric == "MONOCHROME2" else [255, 128, 0]
    assert values(path)[0].tolist() == [*ramp, 0] or values(path)[0].tolist() == [ramp[0], 127, ramp[2], 0]
    ranged = dicom(tmp_path / "b.dcm", stored, 16, photometric, PixelPaddingValue=63536, PixelPaddingRangeLimit=1800)
    assert values(ranged)[0, 2:].tolist() == [0, 0]


def test_colour(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    image = read_dicom(dicom(tmp_path / "a.dcm", rgb, 8, "RGB"))
    assert image.mode == "RGB"
    assert (np.asarray(image) == rgb).all()
    deep = read_dicom(dicom(tmp_path / "b.dcm", rgb.astype(np.uint16) * 257, 16, "RGB"))
    assert (np.asarray(deep) == rgb).all()


def test_palette(tmp_path):
    path = dicom(
        tmp_path / "a.dcm",
        np.array([[0, 1, 2]], np.uint8),
        8,
        "PALETTE COLOR",
        **{f"{c}PaletteColorLookupTableDescriptor": [3, 0, 16] for c in ("Red", "Green", "Blue")},
        RedPaletteColorLookupTableData=np.array([0, 65535, 0], "<u2").tobytes(),
        GreenPaletteColorLookupTableData=np.array([0, 0, 32896], "<u2").tobytes(),
        BluePaletteColorLookupTableData=np.array([65535, 0, 0], "<u2").tobytes(),
    )
    assert np.asarray(read_dicom(path)).tolist() == [[[0, 0, 255], [255, 0, 0], [0, 128, 0]]]


def encoded(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return encapsulate([buffer.getvalue()])


def test_compressed_pixels(tmp_path):
    grey = Image.fromarray(np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1)))
    jpeg = dicom(tmp_path / "a.dcm", grey, 8, syntax=JPEGBaseline8Bit, data=encoded(grey, "JPEG", quality=95))
    assert abs(values(jpeg).astype(int) - np.asarray(grey)).max() <= 3
    if "jpg_2000" in pytest.importorskip("PIL.features").get_supported():
        path = dicom(tmp_path / "b.dcm", grey, 8, syntax=JPEG2000Lossless, data=encoded(grey, "JPEG2000"))
        assert (values(path) == np.asarray(grey)).all()
    ramp = dicom(tmp_path / "c.dcm", RAMP)
    dataset = pydicom.dcmread(ramp)
    dataset.compress(RLELossless)
    dataset.save_as(tmp_path / "rle.dcm")
    assert (values(tmp_path / "rle.dcm") == values(ramp)).all()


def test_a_compression_without_a_decoder_names_the_package(tmp_path, monkeypatch):
    from pydicom.pixels.decoders.base import Decoder

    monkeypatch.setattr(Decoder, "is_available", False)
    path = dicom(
        tmp_path / "a.dcm", np.zeros((8, 8), np.uint8), 8, syntax=JPEGLossless, data=encapsulate([b"\xff\xd8\xff\xd9"])
    )
    with pytest.raises(UserError, match=r"a\.dcm.*1\.2\.840\.10008\.1\.2\.4\.57\): pip install pylibjpeg pylibjpeg-libjpeg$"):
        read_dicom(path)


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"NumberOfFrames": 3}, "3 frames"),
        (
            {"WindowCenter": 60000, "WindowWidth": 10},
            r"window \(centre 60000, width 10\) shows nothing of its values 0 to 4095",
        ),
        ({"WindowCenter": 6, "WindowWidth": 0}, "window width 0 is not allowed with the function LINEAR"),
        ({"WindowCenter": 6, "WindowWidth": 5, "VOILUTFunction": "CUBIC"}, "'CUBIC' is unknown"),
        ({"VOILUTSequence": [table([1, 2], 0, 12)], "x": 9}, "states 9 entries and holds 2"),
        ({"PhotometricInterpretation": "MONOCHROME3"}, "'MONOCHROME3'"),
    ],
)
def test_what_cannot_be_shown_is_refused_by_name(tmp_path, elements, message):
    if "x" in elements:
        elements["VOILUTSequence"][0].LUTDescriptor = [elements.pop("x"), 0, 12]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns while it writes values that are not allowed
        path = dicom(tmp_path / "odd.dcm", RAMP, **elements)
    with pytest.raises(UserError, match=rf"image '.*odd\.dcm' cannot be read: .*{message}"):
        read_dicom(path)


def test_files_that_are_none_cut_or_empty(tmp_path):
    with pytest.raises(UserError, match=r"gone\.dcm' does not exist"):
        read_dicom(tmp_path / "gone.dcm")
    (tmp_path / "text.dcm").write_text("hello " * 100)
    with pytest.raises(UserError, match=r"text\.dcm' cannot be read: no DICOM file"):
        read_image(tmp_path / "text.dcm")
    whole = dicom(tmp_path / "a.dcm", RAMP).read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"cut\.dcm' cannot be read: truncated or damaged"):
        read_image(tmp_path / "cut.dcm")
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    del dataset.PixelData
    dataset.save_as(tmp_path / "sr.dcm")
    with pytest.raises(UserError, match=r"sr\.dcm' .*holds no integer pixel data \(modality: DX\)"):
        read_dicom(tmp_path / "sr.dcm")


def test_read_image_finds_dicom_by_content_too(tmp_path):
    path = dicom(tmp_path / "IM0001", RAMP)
    image = read_image(path)
    assert image.mode == "RGB"
    assert (np.asarray(image)[..., 1] == values(path)).all()


def test_pydicom_is_asked_for_by_name(tmp_path):
    path = dicom(tmp_path / "a.dcm", RAMP)
    code = (
        "import sys; sys.modules['pydicom'] = None\n"
        "from medim.imaging.images import read_image\n"
        "from medim.common.errors import UserError\n"
        f"try: read_image({str(path)!r})\n"
        "except UserError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "reading DICOM files needs pydicom: pip install 'medim-bench[archives]'"


def test_the_real_files(shared_data):
    """One radiograph twice: as it is, and with its tag changed to MONOCHROME1, so the second must be its negative."""
    folder = shared_data / "fixtures" / "dicom"
    straight, negative = (values(path).astype(int) for path in sorted(folder.glob("*.dcm")))
    assert straight.shape == (1024, 1024)
    assert (straight + negative == 255).all()
    assert straight[:100, :100].mean() < 60 < straight[900:, 100:400].mean()  # air is dark, the abdomen bright


WEDGE = np.tile(np.arange(64, dtype=np.uint16) * 65, (48, 1))  # 0 to 4095


@pytest.mark.parametrize(
    ("elements", "says"),
    [
        ({"WindowCenter": 0, "WindowWidth": 1}, "shows nothing of its values 0 to 4095"),
        ({"WindowCenter": 2048, "WindowWidth": 0}, "window width 0 is not allowed"),
        ({"WindowCenter": [0, 2048], "WindowWidth": [1, 4096]}, "shows nothing of its values"),
        ({"WindowCenter": 30000, "WindowWidth": 60000}, "shows only 19 of 256 grey levels of its values 0 to 4095"),
        ({"RescaleSlope": 0, "RescaleIntercept": 5}, "rescale slope 0 and intercept 5 leave nothing"),
        ({"PixelSpacing": [40, 1]}, "its pixels are 40 times as high as wide"),
    ],
)
def test_what_shows_next_to_nothing_is_refused_in_one_line(tmp_path, capfd, recwarn, elements, says):
    with pytest.raises(UserError, match=says):
        read_dicom(dicom(tmp_path / "x.dcm", WEDGE, **elements))
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")


def test_eight_bits_with_a_window_for_twelve_are_refused(tmp_path):
    stored = np.tile(np.arange(256, dtype=np.uint8), (8, 1))
    path = dicom(tmp_path / "x.dcm", stored, bits=8, WindowCenter=2048, WindowWidth=4096)
    with pytest.raises(UserError, match="shows only 17 of 256 grey levels of its values 0 to 255, stored in 8 bits"):
        read_dicom(path)
    dicom(path, stored, bits=8, WindowCenter=128, WindowWidth=256)
    assert read_dicom(path).getextrema() == (0, 255)


def test_the_first_of_eight_windows_is_taken_without_a_word_on_the_terminal(tmp_path, recwarn):
    centres, widths = [2048, 0, 0, 1, 2, 3, 4, 5], [4096, 1, 0, 1, 1, 1, 1, 1]
    picture = read_dicom(dicom(tmp_path / "x.dcm", WEDGE, WindowCenter=centres, WindowWidth=widths))
    assert picture.getextrema() == (0, 255)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("elements", "size"),
    [
        ({"PixelSpacing": [0.4, 0.1]}, (64, 192)),
        ({"PixelSpacing": [0.1, 0.4]}, (256, 48)),
        ({"ImagerPixelSpacing": [0.2, 0.1]}, (64, 96)),
        ({"PixelAspectRatio": [1, 2]}, (128, 48)),
        ({"PixelSpacing": [0.2, 0.2], "PixelAspectRatio": [1, 2]}, (64, 48)),
        ({"PixelSpacing": [0.143, 0.1431]}, (64, 48)),
        ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.2, 0.1]}, (64, 96)),
        ({"PixelSpacing": []}, (64, 48)),
    ],
)
def test_pixels_become_square(tmp_path, elements, size):
    picture = read_dicom(dicom(tmp_path / "x.dcm", WEDGE, WindowCenter=2048, WindowWidth=4096, **elements))
    assert picture.size == size
    assert picture.info["clipped"] == 0
    colour = np.repeat((WEDGE // 16).astype(np.uint8)[..., None], 3, axis=2)
    assert read_dicom(dicom(tmp_path / "y.dcm", colour, bits=8, photometric="RGB", **elements)).size == size


@pytest.mark.parametrize(
    ("elements", "says"),
    [
        ({"PixelSpacing": [0, 1]}, "its PixelSpacing 0, 1 is no pair of positive numbers"),
        ({"PixelSpacing": ["-0.1", "0.2"]}, "its PixelSpacing -0.1, 0.2 is no pair"),
        ({"PixelSpacing": "0.2"}, "its PixelSpacing 0.2 is no pair"),
        ({"ImagerPixelSpacing": ["0.2", "0.2", "0.4"]}, "its ImagerPixelSpacing 0.2, 0.2, 0.4 is no pair"),
        ({"data": b"\1\0" * 32}, "holds values of 2 pictures and states one"),
    ],
)
def test_what_contradicts_one_square_picture_is_refused_by_name(tmp_path, elements, says):
    with pytest.raises(UserError, match=says):
        read_dicom(dicom(tmp_path / "x.dcm", np.arange(16, dtype=np.uint16).reshape(4, 4), **elements))


@pytest.mark.parametrize("name", ["WindowCenter", "RescaleSlope", "RescaleIntercept", "PixelSpacing"])
def test_text_in_place_of_a_number_is_told_by_the_field(tmp_path, name, monkeypatch):
    monkeypatch.setattr(pydicom.config.settings, "_writing_validation_mode", 0)
    path = dicom(
        tmp_path / "x.dcm", np.arange(16, dtype=np.uint16).reshape(4, 4), WindowWidth="20", WindowCenter="8", RescaleSlope=1
    )
    dataset = pydicom.dcmread(path)
    dataset.add_new(pydicom.datadict.tag_for_keyword(name), "LO", "2048,5")
    dataset.save_as(path)
    with pytest.raises(UserError, match=f"its {name} '2048,5' is no number"):
        read_dicom(path)
