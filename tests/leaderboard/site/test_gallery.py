import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from leaderboard.build import build
from leaderboard.site.gallery import choose, galleries, higher_is_better, in_turn, thumbnail
from leaderboard.store import Sample, collect
from medim.common.errors import UserError
from medim.common.files import file_name


@pytest.fixture
def run(make_run):
    return lambda **options: list(collect([make_run(**options)]).runs.values())


def decoded(picture):
    return Image.open(io.BytesIO(base64.b64decode(picture.uri.split(",")[1]))).convert("RGB")


def test_a_small_picture_is_kept_exactly(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    picture = thumbnail(tmp_path / "a.png")
    assert (picture.width, picture.height, picture.tiny) == (64, 48, True)
    assert np.array_equal(np.asarray(decoded(picture)), pixels)


def test_a_large_picture_is_reduced(tmp_path):
    Image.new("L", (1000, 500), 77).save(tmp_path / "a.png")
    picture = thumbnail(tmp_path / "a.png")
    assert decoded(picture).size == (picture.width, picture.height) == (128, 64)
    assert not picture.tiny


def test_a_broken_picture_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG cut")
    with pytest.raises(UserError, match=r"a\.png: cannot read the picture"):
        thumbnail(tmp_path / "a.png")


def test_as_many_as_asked_with_the_domains_in_turn(run):
    found = galleries(run(samples=6), per_model=4, per_anchor=1, budget=10**7)
    model = next(g for g in found if g.system == "phantom-tiny")
    assert [card.sample.id for card in model.cards] == ["chest-000", "patho-003", "chest-001", "patho-004"]
    assert model.total == 6
    assert all(len(g.cards) == 1 for g in found if not g.is_model)


def test_samples_without_a_kept_picture_are_passed_over(run):
    runs = run(samples=4)
    path = runs[0].samples("image-generation", "real") / "samples.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0] |= {"image": None, "reference_image": None}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    real = next(g for g in galleries(runs, 9, 9, 10**7) if g.system == "real" and g.task == "image-generation")
    assert [card.sample.id for card in real.cards] == ["chest-001", "patho-002", "patho-003"]
    assert real.total == 4


def test_withheld_means_no_picture_and_no_text(run):
    found = galleries(run(samples=3, withhold=True), 24, 6, 10**7)
    assert found
    assert all(not g.cards and "withheld" in g.withheld and g.total == 3 for g in found)


def test_the_budget_shortens_every_gallery(run):
    runs = run(samples=6)
    size = sum(g.size for g in galleries(runs, 6, 6, 10**9))
    shorter = galleries(runs, 6, 6, size // 2)
    assert 0 < sum(g.size for g in shorter) <= size // 2
    assert all(not g.cards and "no room" in g.withheld for g in galleries(runs, 6, 6, 10))


def test_a_model_whose_name_is_no_file_name_is_shown_by_its_name(make_run, tmp_path):
    name = "Röntgen-GPT, 7B"
    folder = make_run(model=name, samples=2)
    (run,) = collect([folder]).runs.values()
    models = [gallery for gallery in galleries([run], 1, 0, 10**7) if gallery.is_model]
    assert [gallery.system for gallery in models] == [file_name(name)] * 3
    assert [len(gallery.cards) for gallery in models] == [1, 1, 1]
    page = build([folder], tmp_path / "out").paths["page"].read_text(encoding="utf-8")
    assert f"<summary>{name}" in page
    assert file_name(name) not in page


def test_memorisation_shows_the_nearest_training_images(run):
    runs = run(samples=2)
    folder = runs[0].samples("joint-generation", "phantom-tiny")
    Image.new("RGB", (2200, 400), "white").save(folder / "nearest.png")
    lines = [
        {
            "id": "chest-000",
            "nearest (pixels)": {"id": "train-7", "row": 1, "distance": 0.2875},
            "nearest (report)": {"id": None},
        },
        {"id": "patho-001", "nearest (report)": {"id": "train-9", "verbatim": True}},
    ]
    (folder / "nearest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (gallery,) = (g for g in galleries(runs, 9, 9, 10**7) if g.system == "phantom-tiny" and g.task == "joint-generation")
    assert (gallery.sheet.width, gallery.sheet.height) == (1100, 200)
    assert [card.nearest for card in gallery.cards] == [("train-7, 0.287 away (pixels)",), ("train-9 (report)",)]
    assert gallery.size > len(gallery.sheet.uri)
    (folder / "nearest.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match=r"nearest\.jsonl:1: field 'id': Field required"):
        galleries(runs, 9, 9, 10**7)


def samples(**scores):
    """One sample for each place in the lists of scores; None where it has no such score."""
    length = len(next(iter(scores.values())))
    return [Sample(id=f"s{i}", report="r", scores={name: values[i] for name, values in scores.items()}) for i in range(length)]


def reasons(choices):
    return {sample.id: list(why) for sample, why in choices}


def test_a_third_are_the_first_and_the_rest_are_ends():
    chosen = reasons(choose(samples(F1=[0.5, 0.9, 0.1, 0.5, 0.8, 0.2]), 3))
    assert chosen == {"s0": [], "s2": ["worst by F1"], "s1": ["best by F1"]}


def test_the_next_ones_follow_until_the_limit():
    chosen = reasons(choose(samples(F1=[0.5, 0.9, 0.1, 0.5, 0.8, 0.2]), 5))
    assert chosen == {"s0": [], "s1": ["best by F1"], "s2": ["worst by F1"], "s3": [], "s4": []}
    more = reasons(choose(samples(F1=[0.5, 0.9, 0.1, 0.5, 0.8, 0.2]), 12))
    assert more == {
        "s0": [],
        "s1": ["best by F1"],
        "s2": ["worst by F1"],
        "s3": [],
        "s4": ["best by F1"],
        "s5": ["worst by F1"],
    }


def test_little_is_good_of_some_scores():
    assert reasons(choose(samples(**{"nats per token (report)": [1.0, 9.0, 2.0]}), 2)) == {
        "s0": ["best by nats per token (report)"],
        "s1": ["worst by nats per token (report)"],
    }
    assert higher_is_better("distance (pixels)")


@pytest.mark.parametrize("score", ["contradicted findings", "repeated sentences", "flagged report"])
def test_few_faults_are_the_best(score):
    assert reasons(choose(samples(**{score: [2.0, 0.0, 1.0]}), 3)) == {
        "s0": [f"worst by {score}"],
        "s1": [f"best by {score}"],
        "s2": [],
    }


@pytest.mark.parametrize("score", ["length (tokens)", "nats per token (image of another case)"])
def test_a_descriptive_score_has_no_ends_and_disputes_nothing(score):
    assert higher_is_better(score) is None
    chosen = reasons(choose(samples(**{score: [9.0, 1.0, 5.0, 3.0], "F1": [0.1, 0.9, 0.4, 0.6]}), 12))
    assert {why for reasons in chosen.values() for why in reasons} == {"worst by F1", "best by F1"}


@pytest.mark.parametrize(
    ("values", "worst", "best"),
    [
        ([0.0, 0.0, 0.0, 0.0, 1.0], {4}, {0, 1, 2, 3}),
        ([1.0, 1.0, 1.0, 0.0], {0, 1, 2}, {3}),
        ([2.0, 1.0, 1.0, 1.0, 0.0], {0}, {4}),
        ([3.0, 2.0, 1.0, 0.0], {0, 1}, {2, 3}),
    ],
    ids=["most are best", "most are worst", "most are between", "all differ"],
)
def test_equal_values_are_never_worst_and_best(values, worst, best):
    score = "contradicted findings"
    chosen = reasons(choose(samples(**{score: values}), 30))
    assert {i for i in range(len(values)) if f"worst by {score}" in chosen[f"s{i}"]} == worst
    assert {i for i in range(len(values)) if f"best by {score}" in chosen[f"s{i}"]} == best


def test_the_most_disputed_is_where_two_scores_rank_otherwise():
    wording, truth = [0.1, 0.2, 0.9, 0.4, 0.5, 0.6], [0.1, 0.2, 0.0, 0.4, 0.5, 0.6]
    chosen = reasons(choose(samples(BLEU=wording, F1=truth), 6))
    assert chosen["s2"] == ["best by BLEU", "worst by F1", "disputed"]
    assert sum("disputed" in why for why in chosen.values()) == 1


def test_scores_that_agree_dispute_nothing():
    values = list(np.linspace(0, 1, 10))
    assert not any("disputed" in why for why in reasons(choose(samples(a=values, b=[10 * v for v in values]), 10)).values())


@pytest.mark.parametrize("scores", [{"F1": [1.0, 1.0, 1.0]}, {"F1": [None, None, None]}])
def test_without_a_score_that_tells_them_apart_all_are_the_first(scores):
    assert reasons(choose(samples(**scores), 2)) == {"s0": [], "s1": []}


def test_a_missing_score_is_neither_end():
    chosen = reasons(choose(samples(F1=[None, 0.3, None, 0.7]), 4))
    assert chosen == {"s0": [], "s1": ["worst by F1"], "s3": ["best by F1"], "s2": []}


def test_nothing():
    assert in_turn([]) == []
    assert choose([], 5) == []
    assert choose(samples(F1=[0.1, 0.9]), 0) == []
