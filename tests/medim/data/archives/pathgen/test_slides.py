import os
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from medim.common.errors import UserError
from medim.data.archives.pathgen.slides import MAX_ENLARGEMENT, SlideFacts, Slides, plan

WIDTH, HEIGHT = 2048, 1536


def read_tile(path: Path, x: int, y: int, tile: int, microns_per_pixel: float | None = None) -> SimpleNamespace:
    """One tile of one slide, the level that it was read from, and its scale."""
    with Slides(1) as slides:
        region = plan(slides.facts(path), x, y, tile, microns_per_pixel)
        image = slides.read(path, region)
    return SimpleNamespace(image=image, level=region.level, microns_per_pixel=region.microns_per_pixel)


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory, write_slide) -> Path:
    return write_slide(tmp_path_factory.mktemp("slides") / "slide.svs")


def pixels(image: Image.Image) -> np.ndarray:
    assert image.mode == "RGB"
    return np.asarray(image)


def test_what_the_test_writes_is_an_aperio_slide(slide: Path) -> None:
    with openslide.OpenSlide(slide) as opened:
        assert opened.properties[openslide.PROPERTY_NAME_VENDOR] == "aperio"
        assert opened.level_dimensions == ((2048, 1536), (512, 384), (128, 96))
        assert opened.properties[openslide.PROPERTY_NAME_MPP_X] == "0.25"


def test_facts(slide: Path) -> None:
    with Slides() as slides:
        assert slides.facts(slide) == SlideFacts(slide, 2048, 1536, (1.0, 4.0, 16.0), (0.25, 0.25), 40.0)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (320, 192), (333, 77), (2048 - 672, 1536 - 672)])
def test_level_0_is_returned_pixel_for_pixel(slide: Path, x: int, y: int, blocks) -> None:
    tile = read_tile(slide, x, y, 672)
    assert (tile.level, tile.microns_per_pixel) == (0, 0.25)
    np.testing.assert_array_equal(pixels(tile.image), blocks(WIDTH, HEIGHT, 0)[y : y + 672, x : x + 672])


@pytest.mark.parametrize(("level", "mpp", "x", "y"), [(1, 1.0, 64, 128), (1, 1.0, 1020, 508), (2, 4.0, 32, 64)])
def test_a_level_of_the_resolution_asked_for_is_returned_pixel_for_pixel(
    slide: Path, level: int, mpp: float, x: int, y: int, blocks
) -> None:
    side, scale = 64, 4**level
    tile = read_tile(slide, x, y, side, mpp)
    assert (tile.level, tile.microns_per_pixel) == (level, mpp)
    expected = blocks(WIDTH // scale, HEIGHT // scale, level)[y // scale : y // scale + side, x // scale : x // scale + side]
    np.testing.assert_array_equal(pixels(tile.image), expected)


@pytest.mark.parametrize(("mpp", "level"), [(0.25, 0), (0.5, 0), (0.98, 0), (0.995, 1), (1.0, 1), (2.0, 1), (3.9, 1), (4.0, 2)])
def test_the_coarsest_level_that_has_the_resolution_is_read(slide: Path, mpp: float, level: int) -> None:
    tile = read_tile(slide, 0, 0, 64, mpp)
    assert tile.level == level
    assert pixels(tile.image)[..., 2].min() == pixels(tile.image)[..., 2].max() == 50 + 60 * level


def test_between_levels_the_places_stay_where_they_are(slide: Path) -> None:
    """At 0.5 microns a block of 32 pixels becomes one of 16: its inside has exactly its colour."""
    tile = pixels(read_tile(slide, 320, 192, 128, 0.5).image)
    for row in range(8):
        for column in range(8):
            inside = tile[16 * row + 4 : 16 * row + 12, 16 * column + 4 : 16 * column + 12, :2]
            assert (inside == [3 * (10 + column), 4 * (6 + row)]).all()


def test_a_corner_between_pixels_of_a_level_moves_the_tile_by_that_fraction(tmp_path: Path, write_slide) -> None:
    ramp = [np.tile(np.arange(n, dtype=np.uint8)[None, :, None] * k, (256, 1, 3)) for n, k in ((256, 1), (64, 4))]
    path = write_slide(tmp_path / "ramp.svs", [ramp[0], ramp[1][:64]])
    at = [pixels(read_tile(path, x, 0, 16, 1.0).image)[8, 8, 0] for x in (80, 82, 84)]
    assert at == [112, 114, 116]  # level 1 holds 4 a pixel, so half a pixel of it is 2


def test_shrinking_is_antialiased(tmp_path: Path, write_slide) -> None:
    checkers = np.indices((512, 512)).sum(0)[..., None] % 2 * np.full(3, 255)
    path = write_slide(tmp_path / "checkers.svs", [checkers.astype(np.uint8)])
    tile = pixels(read_tile(path, 0, 0, 128, 0.75).image)
    assert abs(tile[8:-8, 8:-8].astype(int) - 127).max() <= 30  # a nearest pixel would be 0 or 255
    assert abs(tile.mean() - 127.5) < 1


def test_x_and_y_may_have_scales_of_their_own() -> None:
    facts = SlideFacts(Path("s.svs"), 10_000, 10_000, (1.0,), (0.25, 0.5), 40.0)
    region = plan(facts, 0, 0, 100, 0.5)
    assert (region.width, region.height) == (200.0, 100.0)
    assert plan(facts, 0, 0, 100).microns_per_pixel == pytest.approx((0.25 * 0.5) ** 0.5)


def test_levels_rounded_to_whole_pixels_still_serve_their_resolution() -> None:
    facts = SlideFacts(Path("s.svs"), 100_003, 80_001, (1.0, 4.00016, 16.003), (0.2525, 0.2525), 40.0)
    assert plan(facts, 0, 0, 672, 1.01).level == 1
    assert plan(facts, 0, 0, 672, 4.04).level == 2


def test_transparent_pixels_become_white(slide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rgba = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    rgba.putpixel((3, 5), (200, 10, 20, 255))
    rgba.putpixel((4, 5), (0, 0, 0, 128))
    monkeypatch.setattr(openslide.OpenSlide, "read_region", lambda *_: rgba)
    tile = read_tile(slide, 0, 0, 16).image
    assert [tile.getpixel(place) for place in ((0, 0), (3, 5), (4, 5))] == [(255,) * 3, (200, 10, 20), (127,) * 3]


@pytest.mark.parametrize(("x", "y"), [(-1, 0), (0, -1), (2048 - 671, 0), (0, 1536 - 671), (10**9, 10**9)])
def test_a_region_that_leaves_the_slide_is_refused(slide: Path, x: int, y: int) -> None:
    with pytest.raises(UserError, match=rf"'{slide}' has 2048 x 1536 pixels; the tile of 672 x 672 at \({x}, {y}\) leaves it"):
        read_tile(slide, x, y, 672)


def test_a_coarse_tile_needs_its_whole_field(slide: Path) -> None:
    assert read_tile(slide, 1024, 0, 256, 1.0).image.size == (256, 256)  # a field of 1024
    with pytest.raises(UserError, match="tile of 1024 x 1024 at \\(1025, 0\\) leaves it"):
        read_tile(slide, 1025, 0, 256, 1.0)


def test_nothing_is_enlarged_beyond_the_scatter_of_scanners(slide: Path) -> None:
    assert read_tile(slide, 0, 0, 64, 0.25 / MAX_ENLARGEMENT + 1e-6).image.size == (64, 64)
    with pytest.raises(UserError, match=r"scanned at 0.25 microns per pixel; a tile at 0.2 would be enlarged"):
        read_tile(slide, 0, 0, 64, 0.2)


@pytest.mark.parametrize("mpp", [None, "0", "unknown"])
def test_a_slide_that_does_not_tell_its_scale(tmp_path: Path, mpp: str | None, write_slide) -> None:
    path = write_slide(tmp_path / "silent.svs", mpp=mpp, power="20")
    assert read_tile(path, 0, 0, 64).microns_per_pixel is None
    with pytest.raises(UserError, match=r"silent\.svs' does not tell its microns per pixel"):
        read_tile(path, 0, 0, 64, 0.5)
    with Slides() as slides:
        facts = slides.facts(path).scaled_by_objective()
    assert facts.microns_per_pixel == (0.5, 0.5)
    assert plan(facts, 0, 0, 64, 2.0).level == 1


def test_objective_does_not_replace_a_stated_scale(slide: Path) -> None:
    facts = SlideFacts(slide, 10, 10, (1.0,), (0.2325, 0.2325), 40.0)
    assert facts.scaled_by_objective() is facts


def test_a_slide_without_a_pyramid_is_not_read_as_a_whole() -> None:
    facts = SlideFacts(Path("flat.svs"), 100_000, 100_000, (1.0,), (0.25, 0.25), 40.0)
    with pytest.raises(UserError, match=r"flat.svs' has no level near .* 21504 x 21504 pixels of level 0"):
        plan(facts, 0, 0, 672, 8.0)


def test_missing_and_unknown_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no\.svs' does not exist"):
        read_tile(tmp_path / "no.svs", 0, 0, 64)
    (tmp_path / "text.svs").write_text("no slide")
    with pytest.raises(UserError, match=r"text\.svs' cannot be opened: no format"):
        read_tile(tmp_path / "text.svs", 0, 0, 64)


def test_a_cut_slide_is_named(slide: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.svs"
    cut.write_bytes(slide.read_bytes()[:-5000])
    with pytest.raises(UserError, match=r"cut\.svs'"):
        read_tile(cut, 0, 0, 64, 4.0)


def test_a_damaged_place_is_named_and_the_others_are_still_read(tmp_path: Path, write_slide, blocks) -> None:
    path = write_slide(tmp_path / "worn.svs")
    with tifffile.TiffFile(path) as tiff:
        start, size = tiff.pages[0].dataoffsets[0], tiff.pages[0].databytecounts[0]
    data = bytearray(path.read_bytes())
    data[start : start + size] = b"\xff" * size
    path.write_bytes(data)
    with Slides() as slides:
        facts = slides.facts(path)
        for _ in range(2):
            with pytest.raises(UserError, match=r"worn\.svs' is damaged at \(10, 20\)"):
                slides.read(path, plan(facts, 10, 20, 64))
            tile = slides.read(path, plan(facts, 512, 512, 64))
            np.testing.assert_array_equal(pixels(tile), blocks(WIDTH, HEIGHT, 0)[512:576, 512:576])


def test_few_slides_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_slide, blocks) -> None:
    paths = [write_slide(tmp_path / f"{n}.svs", [blocks(256, 256, 0)]) for n in range(3)]
    opened, closed = [], []
    real_open, real_close = openslide.OpenSlide.__init__, openslide.OpenSlide.close
    monkeypatch.setattr(
        openslide.OpenSlide, "__init__", lambda self, path: (opened.append(Path(path).stem), real_open(self, path))[1]
    )
    monkeypatch.setattr(openslide.OpenSlide, "close", lambda self: (closed.append(self), real_close(self))[1])
    with Slides(capacity=2) as slides:
        for n in (0, 1, 0, 1, 2, 1, 0):
            slides.facts(paths[n])
        assert opened == ["0", "1", "2", "0"]
        assert len(closed) == 2
    assert len(closed) == 4


def test_a_pickled_copy_opens_its_own_slides(slide: Path) -> None:
    with Slides(capacity=3) as slides:
        slides.facts(slide)
        copy = pickle.loads(pickle.dumps(slides))
        assert copy.capacity == 3
        with copy:
            assert copy.read(slide, plan(copy.facts(slide), 0, 0, 32)).size == (32, 32)


def test_another_process_opens_its_own_slides(slide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a fork the parent's file positions are shared: they are left alone, and the slide is opened anew."""
    with Slides() as slides:
        slides.facts(slide)
        opened = []
        real = openslide.OpenSlide.__init__
        monkeypatch.setattr(openslide.OpenSlide, "__init__", lambda self, path: (opened.append(path), real(self, path))[1])
        slides.facts(slide)
        assert opened == []
        monkeypatch.setattr(os, "getpid", lambda: -1)
        slides.facts(slide)
        assert opened == [slide]
