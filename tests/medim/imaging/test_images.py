"""Any mode and bit depth to 8-bit RGB, one geometry, exact quantisation, and clear refusals."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from medim.common.errors import UserError
from medim.imaging.images import GEOMETRY, Geometry, read_image, square, to_images, to_rgb, to_tensor


def saved(image: Image.Image, path, **options):
    image.save(path, **options)
    return path


def grey(path) -> np.ndarray:
    """The single channel of a grey RGB image, (H, W) uint8."""
    values = np.asarray(read_image(path))
    assert values.shape[-1] == 3
    assert (values == values[..., :1]).all()
    return values[..., 0]


def noise(height: int, width: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


RAMP = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bit_grey_keeps_256_levels(tmp_path, suffix):
    values = grey(saved(Image.fromarray(RAMP), tmp_path / f"ramp.{suffix}"))
    assert (values == np.arange(256).reshape(16, 16)).all()


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_dark_16_bit_image_is_not_stretched(tmp_path, suffix):
    dark = Image.fromarray(RAMP // 16)
    assert grey(saved(dark, tmp_path / f"dark.{suffix}")).max() == 16  # 65535 // 16 of 65535: 15.94 of 255


def test_big_endian_16_bit_equals_little_endian():
    stored = Image.frombytes("I;16B", (16, 16), RAMP.astype(">u2").tobytes())
    assert to_rgb(stored).tobytes() == to_rgb(Image.fromarray(RAMP)).tobytes()


def test_16_bit_tiff_whose_zero_is_white_is_inverted(tmp_path):
    path = tmp_path / "white.tif"
    Image.fromarray(RAMP).save(path, tiffinfo={262: 0})
    with Image.open(path) as image:
        if image.tag_v2[262] != 0:  # the writer states its own photometric: patch the tag in the file
            data = bytearray(path.read_bytes())
            at = data.find(bytes([0x06, 0x01, 0x03, 0x00]))
            data[at + 8 : at + 10] = b"\0\0"
            path.write_bytes(bytes(data))
    assert (grey(path) == 255 - np.arange(256).reshape(16, 16)).all()


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_unbounded_modes_use_their_own_range(tmp_path, dtype):
    values = np.array([[-1000, 0], [1000, 3000]], dtype)
    assert grey(saved(Image.fromarray(values), tmp_path / "x.tif")).tolist() == [[0, 64], [128, 255]]  # 63.75, 127.5
    assert grey(saved(Image.fromarray(np.full((2, 2), 7, dtype)), tmp_path / "y.tif")).max() == 0


def test_the_upper_half_of_unsigned_32_bits_does_not_wrap(tmp_path):
    values = np.array([[0, 2**31 - 1], [2**31, 2**32 - 1]], np.uint32)
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "u.tif", values)
    assert grey(tmp_path / "u.tif").tolist() == [[0, 127], [128, 255]]
    tifffile.imwrite(tmp_path / "w.tif", values.astype(np.float32), photometric="miniswhite")
    assert grey(tmp_path / "w.tif").tolist() == [[255, 128], [128, 0]]  # float32 takes both middles for 2^31


def test_16_bit_colour_keeps_its_upper_byte(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    values = np.random.default_rng(0).integers(0, 65536, (4, 5, 3), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "c.tif", values, photometric="rgb")
    assert (np.asarray(read_image(tmp_path / "c.tif")) == values >> 8).all()


@pytest.mark.parametrize("suffix", ["tif", "gif", "webp", "png"])
def test_of_several_frames_the_first(tmp_path, suffix):
    frames = [Image.new("L", (8, 8), level) for level in (200, 20)]
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(frames[0], tmp_path / f"f.{suffix}", save_all=True, append_images=frames[1:], **options)
    with Image.open(path) as image:
        assert image.n_frames == 2
    assert (grey(path) == 200).all()


def test_float_image_with_nan_is_refused(tmp_path):
    path = saved(Image.fromarray(np.array([[0, np.nan]], np.float32)), tmp_path / "nan.tif")
    with pytest.raises(UserError, match=r"nan\.tif' cannot be read: holds NaN"):
        read_image(path)


def test_one_bit_palette_and_cmyk(tmp_path):
    bits = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert("1")
    assert grey(saved(bits, tmp_path / "bits.png")).tolist() == [[0, 255], [255, 0]]
    palette = Image.new("P", (2, 1))
    palette.putpalette([200, 10, 20, 3, 4, 5])
    palette.putpixel((1, 0), 1)
    assert np.asarray(read_image(saved(palette, tmp_path / "palette.png"))).tolist() == [[[200, 10, 20], [3, 4, 5]]]
    cmyk = read_image(saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), tmp_path / "cmyk.tif"))
    assert cmyk.mode == "RGB"
    assert cmyk.getpixel((0, 0)) == (255, 0, 0)
    adobe = saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), tmp_path / "cmyk.jpg", quality=100)
    assert b"Adobe" in adobe.read_bytes()  # stored inverted, as the marker tells
    assert read_image(adobe).getpixel((0, 0)) == (255, 0, 0)


def test_alpha_is_black_behind_grey_and_white_behind_colour(tmp_path):
    film = Image.new("RGBA", (2, 1), (90, 90, 90, 255))
    film.putpixel((1, 0), (1, 2, 3, 0))  # invisible, so its colour does not count
    assert np.asarray(read_image(saved(film, tmp_path / "film.png")))[0].tolist() == [[90] * 3, [0] * 3]
    slide = Image.new("RGBA", (2, 1), (200, 90, 160, 255))
    slide.putpixel((1, 0), (0, 0, 0, 0))
    assert np.asarray(read_image(saved(slide, tmp_path / "slide.png")))[0].tolist() == [[200, 90, 160], [255] * 3]
    half = read_image(saved(Image.new("LA", (1, 1), (100, 128)), tmp_path / "half.png"))
    assert half.getpixel((0, 0)) == (50, 50, 50)
    key = Image.new("P", (2, 1))
    key.putpalette([200, 10, 20, 0, 0, 0])
    key.putpixel((1, 0), 1)
    assert read_image(saved(key, tmp_path / "key.png", transparency=1)).getpixel((1, 0)) == (255, 255, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_exif_orientation(tmp_path, orientation, suffix):
    upright = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(Image.fromarray(np.ascontiguousarray(stored)), tmp_path / f"turned.{suffix}", exif=exif)
    assert (grey(path) == upright).all()


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_a_cut_file_is_refused_by_name(tmp_path, suffix, share):
    path = saved(noise(64, 64), tmp_path / f"y.{suffix}")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UserError, match=rf"y\.{suffix}' cannot be read: .*truncated") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_no_image_is_refused_by_name(tmp_path, content):
    (tmp_path / "z.png").write_bytes(content)
    with pytest.raises(UserError, match=r"z\.png' cannot be read"):
        read_image(tmp_path / "z.png")


def test_missing_image_and_folder_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"gone\.png' does not exist"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(UserError, match=r"cannot be read: Is a directory$"):
        read_image(tmp_path)


def test_square_pads_in_the_middle_and_is_idempotent():
    assert GEOMETRY == "pad-square,bicubic,antialias"
    wide = Image.new("RGB", (64, 32), (255, 255, 255))
    values = np.asarray(square(wide, 64, Geometry("grey", (7, 7, 7))))
    assert (values[:16] == 7).all()
    assert (values[16:48] == 255).all()
    assert (values[48:] == 7).all()
    image = noise(90, 120)
    once = square(image, 64)
    assert once.size == (64, 64)
    assert square(once, 64).tobytes() == once.tobytes()
    assert square(Image.new("L", (3, 1), 9), 8).mode == "RGB"


def test_square_is_antialiased():
    lines = np.zeros((256, 256, 3), np.uint8)
    lines[:, ::2] = 255  # one pixel on, one off: at a quarter of the size only its mean is left
    values = np.asarray(square(Image.fromarray(lines), 64)).astype(int)
    assert abs(values[:, 2:-2] - 128).max() <= 2


def test_tensor_round_trip_is_exact():
    images = [noise(8, 16, seed) for seed in range(3)]
    tensor = to_tensor(images)
    assert tensor.shape == (3, 3, 8, 16)
    assert tensor.dtype == torch.float32
    assert [image.tobytes() for image in to_images(tensor)] == [image.tobytes() for image in images]
    every = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).convert("RGB")
    assert to_images(to_tensor([every]))[0].tobytes() == every.tobytes()
    assert to_tensor([every]).min() == -1
    assert to_tensor([every]).max() == 1


def test_quantisation_has_no_bias():
    uniform = torch.rand(4, 3, 256, 256, generator=torch.Generator().manual_seed(0))  # in [0, 1]
    levels = np.stack([np.asarray(image) for image in to_images(uniform * 2 - 1)]) / 255
    assert abs(levels.mean() - uniform.double().mean().item()) < 1e-5  # truncation is off by 2e-3


def test_quantisation_rounds_half_to_even_and_clips():
    values = torch.tensor([0.0, 0.75, 0.5, -3.0, 3.0])  # levels 127.5, 223.125, 191.25, and out of range on both sides
    image = to_images(values.repeat(3, 1)[None, :, None, :])[0]
    assert np.asarray(image)[0, :, 0].tolist() == [128, 223, 191, 0, 255]


def test_tensors_refuse_what_they_cannot_hold():
    with pytest.raises(ValueError, match="one size"):
        to_tensor([noise(8, 8), noise(8, 9)])
    with pytest.raises(ValueError, match="one size"):
        to_tensor([])
    with pytest.raises(ValueError, match="NaN"):
        to_images(torch.full((1, 3, 2, 2), float("nan")))
    with pytest.raises(ValueError, match="shape"):
        to_images(torch.zeros(3, 2, 2))


def test_a_decoded_image_outlives_its_stream(tmp_path):
    buffer = io.BytesIO()
    noise(4, 4).save(buffer, "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(buffer.getvalue())
    image = read_image(path)
    path.unlink()
    assert image.tobytes() == noise(4, 4).tobytes()
