"""Statistics of a reference set give what the set itself gives, or say that they cannot."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from medim.common.errors import UserError
from medim.data.sources.folder import ReportsOnly
from tasks.generation.report import ReportGeneration
from tasks.metrics.image.features import FeatureBank
from tasks.metrics.text.captioning import protocol_named
from tasks.protocols import Case, Prediction
from tasks.scoring.context import Context
from tasks.scoring.distributions import distribution_scores
from tasks.scoring.reference import read_reference, write_reference

FRECHET = "Fréchet distance (pooled)"
ABOUT = {"dataset": "d", "dataset_fingerprint": "f", "split": "test", "resolution": 16, "terms": "CC0-1.0", "synthetic": True}


class Space:
    """The means of 2 x 4 parts of a picture."""

    name = title = "pooled"
    fingerprint = "pooled-1"
    resize = "none"
    trained_against = False

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(images[:, :1], (2, 4)).flatten(1)


def context_of(**fields) -> Context:
    return Context(opener=lambda spec, device: Space(), **fields)


def pictures(count: int, seed: int) -> list[Image.Image]:
    generator = np.random.default_rng(seed)
    return [Image.fromarray(generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)) for _ in range(count)]


def cases_of(count: int, words: str = "heart lung clear normal small left right effusion") -> list[Case]:
    generator = np.random.default_rng(9)
    texts = [" ".join(generator.choice(words.split(), 9)) + f" number{row}" for row in range(count)]
    shown = zip(pictures(count, 0), texts, strict=True)
    return [Case(f"c{row}", f"p{row // 2}", None, image, text, None) for row, (image, text) in enumerate(shown)]


@pytest.fixture
def exported(tmp_path):
    def export(cases, with_features=False, protocol="as-given"):
        write_reference(tmp_path / "r.npz", cases, [FeatureBank(Space())], protocol, ABOUT, with_features)
        return read_reference(tmp_path / "r.npz")

    return export


def values(scores) -> dict:
    return {one.metric: (one.value, one.ci_low, one.ci_high) for one in scores}


def blank(cases: list[Case]) -> list[Case]:
    """As a set of reports alone has them."""
    return [replace(case, image=Image.new("RGB", (16, 16))) for case in cases]


def test_moments_give_the_distance_to_the_last_digit(exported):
    """40 images, 8 features: the same float64. What needs features says so."""
    cases, images = cases_of(40), pictures(40, 1)
    whole = values(distribution_scores(cases, images, context_of(), None))
    found = distribution_scores(blank(cases), images, context_of(reference=exported(cases)), None)
    assert list(values(found)) == list(whole)
    assert values(found)[FRECHET] == (whole[FRECHET][0], None, None)
    assert whole[FRECHET][0] > 0
    withheld = {one.metric for one in found if one.value is None and "reference statistics do not hold" in (one.reason or "")}
    shares = {f"image {one} (pooled)" for one in ("precision", "recall", "density", "coverage")}
    assert withheld == {"KID (pooled)", "FD∞ (pooled)"} | shares


def test_few_images_agree_to_rounding(exported):
    cases, images = cases_of(6), pictures(6, 1)
    whole = values(distribution_scores(cases, images, context_of(), None))[FRECHET][0]
    found = values(distribution_scores(blank(cases), images, context_of(reference=exported(cases)), None))[FRECHET][0]
    assert found == pytest.approx(whole, rel=1e-9)


def test_features_give_every_score_and_interval(exported):
    cases, images = cases_of(60), pictures(60, 1)
    stored = exported(cases, with_features=True)
    whole = values(distribution_scores(cases, images, context_of(), None))
    assert values(distribution_scores(blank(cases), images, context_of(reference=stored), None)) == whole
    assert whole["KID (pooled)"][1] is not None
    fewer = distribution_scores(blank(cases[:50]), images[:50], context_of(reference=stored), None)
    assert values(fewer)["KID (pooled)"][0] is None  # of other cases: whose features are whose is not known
    assert {one.signature["n_reference"] for one in fewer if "n_reference" in one.signature} == {60}


def test_frequencies_of_the_whole_set_weigh_a_part_of_it(exported):
    """CIDEr of all cases is the same float64; of ten of them it has the whole set's frequencies, and is no longer withheld."""
    cases = cases_of(60)
    reports = [" ".join(case.report.split()[:7]) for case in cases]
    stored = exported(cases)
    task = ReportGeneration()

    def cider(count: int, context: Context):
        predictions = [Prediction(case.id, report=text) for case, text in zip(cases[:count], reports, strict=False)]
        scores, samples = task.score(cases[:count], predictions, context)
        return next(one for one in scores if one.metric == "CIDEr (as given)"), samples

    (whole, samples), (again, _) = (
        cider(60, context_of(protocol="as-given")),
        cider(60, context_of(protocol="as-given", reference=stored)),
    )
    assert again.value == whole.value
    assert again.signature["document_frequencies"] == "reference statistics, 60"
    assert cider(10, context_of(protocol="as-given"))[0].value is None
    part, per_sample = cider(10, context_of(protocol="as-given", reference=stored))
    expected = [one["CIDEr (as given)"] for one in samples[:10]]
    assert [one["CIDEr (as given)"] for one in per_sample] == pytest.approx(expected, rel=1e-12)
    assert part.value == pytest.approx(np.mean(expected), rel=1e-12)


def test_no_ngram_of_one_report_alone_is_written(exported, tmp_path):
    cases = cases_of(60)
    texts = exported(cases).documents.texts
    assert not [text for text in texts if "number" in text]
    assert list(texts) == sorted(texts)  # not in the order of a report's words
    assert all(sum(f" {text} " in f" {case.report} " for case in cases) > 1 for text in texts)
    references = protocol_named("as-given").references([case.report for case in cases])
    counts = dict(zip(texts, exported(cases).documents.counts, strict=True))
    assert counts["heart"] == sum("heart" in case.report.split() for case in cases)
    assert len(texts) == sum(int((frequencies > 1).sum()) for frequencies in references.frequencies)


def test_the_same_cases_give_the_same_bytes(exported, tmp_path):
    first = exported(cases_of(8)).fingerprint
    assert exported(cases_of(8)).fingerprint == first
    assert exported(cases_of(9)).fingerprint != first


def test_what_does_not_fit_is_refused(exported, tmp_path, monkeypatch):
    cases = cases_of(8)
    stored = exported(cases, protocol="strict-v1")
    with pytest.raises(UserError, match=r"counts tokens of 'PTB.*and here they are of 'as given.*the same --protocol"):
        ReportGeneration().score(cases, [], context_of(protocol="as-given", reference=stored))
    other = Space()
    other.fingerprint = "pooled-2"
    context = Context(opener=lambda spec, device: other, reference=stored)
    reasons = {one.reason for one in distribution_scores(cases, pictures(8, 1), context, None) if one.value is None}
    assert any("has statistics of pooled (pooled-1), and none of pooled (pooled-2)" in reason for reason in reasons)
    monkeypatch.setattr("tasks.scoring.reference.GEOMETRY", "stretched")
    with pytest.raises(UserError, match=r"has features of pictures by '.*', and here they are by 'stretched'"):
        stored.of_space(Space(), cases)
    with pytest.raises(UserError, match="does not exist: `medim-bench data reference"):
        read_reference(tmp_path / "none.npz")
    whole = (tmp_path / "r.npz").read_bytes()
    (tmp_path / "r.npz").write_bytes(whole[:400] + b"xyz" + whole[403:])  # within a deflated array
    with pytest.raises(UserError, match="holds no reference statistics, or is damaged"):
        read_reference(tmp_path / "r.npz")
    (tmp_path / "r.npz").write_bytes(whole[:300])
    with pytest.raises(UserError, match="holds no reference statistics, or is damaged"):
        read_reference(tmp_path / "r.npz")
    np.savez(tmp_path / "v.npz", index=np.array(json.dumps({"version": 2})))
    with pytest.raises(UserError, match="version 2 of these files, and this program reads 1"):
        read_reference(tmp_path / "v.npz")
    with pytest.raises(UserError, match="at least two cases, here are 1"):
        exported(cases[:1])


def test_features_are_of_the_same_ids_patients_and_reports(exported):
    """Ids such as 0, 1, ... are those of many data sets."""
    cases = cases_of(8)
    stored = exported(cases, with_features=True)
    assert stored.of_space(Space(), blank(cases)).features.shape == (8, 8)
    for others in (
        [replace(case, report="another") for case in cases],
        [replace(case, patient="p") for case in cases],
        cases[::-1],
    ):
        assert not stored.is_of(others)
        assert stored.of_space(Space(), others).features is None


def test_statistics_of_other_data_are_refused(exported):
    stored = exported(cases_of(8))
    same, words = SimpleNamespace(fingerprint="f", name="d"), ReportsOnly.__new__(ReportsOnly)
    assert stored.unlike(same, "test", 16) is None
    assert stored.unlike(words, "test", None) is None
    assert "of split 'test', not 'val'" in stored.unlike(words, "val", None)
    assert "of images of 16 px, not 32: --resolution 16" in stored.unlike(words, "test", 32)
    assert "of other data ('d')" in stored.unlike(SimpleNamespace(fingerprint="g", name="e"), "test", 16)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"terms": None}, "TypeError: 'terms' is None"),
        ({"resolution": "64"}, "TypeError: 'resolution' is '64'"),
        ({"spaces": {"pooled-1": {"features": "pooled", "number": 0, "dimension": 8}}}, "KeyError: 'geometry'"),
        ({"counts": np.array([1.0])}, "n-grams with counts of shape"),
        ({"counts": np.array(["many"])}, "TypeError"),
    ],
)
def test_a_file_that_states_other_things_is_damaged(exported, tmp_path, changed, reason):
    exported([replace(case, report="clear") for case in cases_of(8)])
    with np.load(tmp_path / "r.npz") as stored:
        arrays = dict(stored)
    arrays["counts"] = changed.pop("counts", arrays["counts"])
    arrays["index"] = np.array(json.dumps(json.loads(str(arrays["index"])) | changed))
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(UserError, match=f"holds no reference statistics, or is damaged .*{reason}"):
        read_reference(tmp_path / "other.npz")
