from dataclasses import replace

import pytest
from PIL import Image

from medim.common.errors import UserError
from medim.data.phantom.worlds import WORLDS, default_world
from medim.data.sources.selection import MixedDataset, Subset
from tasks.cases import at_resolution, cases_of, drawn_cases, own_resolution


def test_cases_are_pairs_in_the_declared_geometry(world):
    cases = cases_of(world, "test", 32, 5)
    assert [case.id for case in cases] == [case.id for case in world.cases[:5]]
    assert {case.image.size for case in cases} == {(32, 32)}
    assert cases[1].findings == world.cases[1].findings
    assert cases[1].domain == "east"
    assert len(cases_of(world, "test", 16)) == 80


def test_a_study_is_scored_once(world, monkeypatch):
    pair = world.pair
    monkeypatch.setattr(world, "pair", lambda split, index: replace(pair(split, index), study=f"study-{index // 2}"))
    cases = cases_of(world, "test", 16, 3)
    assert [case.id for case in cases] == ["test-000", "test-002", "test-004"]


def test_studies_of_one_name_under_two_patients_are_two(world, monkeypatch):
    pair = world.pair
    monkeypatch.setattr(world, "pair", lambda split, index: replace(pair(split, index), study="study1"))
    patients = [case.patient for case in cases_of(world, "test", 16)]
    assert len(patients) == len(set(patients)) == len({case.patient for case in world.cases})
    drawn = [case.patient for case in drawn_cases(world, "test", 16, 1000, seed=0)]
    assert sorted(drawn) == sorted(patients)


def test_images_are_read_from_paths(world, monkeypatch, tmp_path):
    Image.new("L", (20, 10), 255).save(tmp_path / "wide.png")
    pair = replace(world.pair("test", 0), image=tmp_path / "wide.png")
    monkeypatch.setattr(world, "pair", lambda split, index: pair)
    (case,) = cases_of(world, "test", 20, 1)
    assert case.image.mode == "RGB"
    assert case.image.getpixel((10, 10)) == (255, 255, 255)
    assert case.image.getpixel((10, 2)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("split", "limit", "message"),
    [("tset", None, "unknown split 'tset'"), ("val", None, "no pairs in split 'val'"), ("test", 0, "limit must be at least 1")],
)
def test_mistakes_are_named(world, split, limit, message):
    with pytest.raises(UserError, match=message):
        cases_of(world, split, 16, limit)


def test_a_pair_without_report_is_no_reference(world, monkeypatch):
    pair = replace(world.pair("test", 0), report=None)
    monkeypatch.setattr(world, "pair", lambda split, index: pair)
    with pytest.raises(UserError, match="'test-000' of data set 'world' has no report"):
        cases_of(world, "test", 16)


def test_drawn_pictures_are_drawn_at_the_tasks_resolution_not_resized():
    small, large = (cases_of(default_world(side), "test", 128, 2) for side in (64, 128))
    assert [case.image.tobytes() for case in small] == [case.image.tobytes() for case in large]
    drawn = default_world().pair("test", 1).image
    assert cases_of(default_world(128), "test", 64, 2)[1].image.tobytes() == drawn.tobytes()
    assert cases_of(default_world(), "test", 64, 2)[1].image.tobytes() == drawn.tobytes()


def test_subsets_and_mixtures_are_drawn_too():
    expected = default_world(96).pair("test", 0).image.tobytes()
    subset = Subset(default_world(), 0.01)
    assert cases_of(subset, "test", 96, 1)[0].image.tobytes() == expected
    assert at_resolution(subset, 96).size("train") == subset.size("train")
    small, large = (MixedDataset([default_world(side), WORLDS["phantom-v2"](side)], [1, 2]) for side in (64, 96))
    drawn = [case.image.tobytes() for case in cases_of(small, "test", 96, 12)]
    assert drawn == [large.pair("test", index).image.tobytes() for index in range(12)]
    assert expected in drawn


def test_own_resolution_is_the_drawn_one_or_the_first_images(world, monkeypatch, tmp_path):
    assert own_resolution(default_world(80), "test") == 80
    assert own_resolution(Subset(default_world(80), 0.01), "test") == 80
    for size, side in (((20, 10), 20), ((100, 3000), 512)):
        Image.new("L", size).save(tmp_path / "image.png")
        pair = replace(world.pair("test", 0), image=tmp_path / "image.png")
        monkeypatch.setattr(world, "pair", lambda split, index, pair=pair: pair)
        assert own_resolution(world, "test") == side


def test_drawn_cases_come_from_all_of_a_split_and_fewer_are_the_first_of_more(world):
    more, fewer = (drawn_cases(world, "train", 16, count, seed=3) for count in (40, 10))
    assert [case.id for case in more[:10]] == [case.id for case in fewer]
    numbers = sorted(int(case.id.rpartition("-")[2]) for case in more)
    assert len(set(numbers)) == 40
    assert numbers[-1] > 80
    assert len(drawn_cases(world, "train", 16, 1000, seed=0)) == 120
    with pytest.raises(UserError, match="has no pairs in split 'val'"):
        drawn_cases(world, "val", 16, 5, seed=0)
