"""Any part of a pair given, on the shipped model: what is given stays, gaps are filled, edits stay in their region."""

import hashlib

import numpy as np
import pytest
import torch

from medim.common.errors import UserError
from medim.data.loading import load_dataset
from medim.pipeline import MeDiMPipeline
from medim.sampling.editing.completion import fill_in, parts_of, with_gaps
from medim.sampling.settings import SamplerSettings
from medim.tokenizers.sentences import sentence_slices


@pytest.fixture(scope="module")
def dataset():
    return load_dataset("phantom")


@pytest.fixture(scope="module")
def pairs(dataset):
    return [dataset.pair("test", index) for index in range(3)]


@pytest.fixture(scope="module")
def shipped():
    return MeDiMPipeline.from_pretrained("phantom-tiny", "cpu")


@pytest.fixture
def pipeline(shipped):
    sampler = shipped.sampler
    yield shipped
    shipped.sampler, shipped.steering = sampler, None


QUICK = {"image.steps": 4, "report.steps": 6}


def digest(codes: torch.Tensor) -> str:
    return hashlib.sha256(codes.numpy().tobytes()).hexdigest()[:16]


def test_the_shipped_model_draws_what_it_always_drew(pipeline, pairs):
    """Pinned before there were other orders, guidance or caching, with the sampler of then."""
    pipeline.sampler = SamplerSettings.from_dict(BEFORE)
    canvas = pipeline._blank(1).give_report(pipeline.reports.encode([pairs[0].report]))
    assert pipeline._decode(canvas, [1]).image_codes()[0, :16].tolist() == PINNED_CODES
    canvas = pipeline._blank(1).give_image(pipeline._codes([pairs[0].image]))
    assert pipeline._reports(pipeline._decode(canvas, [1])) == [
        "frontal chest radiograph. a small nodule is seen in the left lung. no consolidation is seen."
    ]
    assert pipeline._reports(pipeline._decode(pipeline._blank(1), [5])) == [
        "portable chest radiograph. no pleural effusion or pneumothorax."
    ]


PINNED_CODES = [127, 240, 25, 68, 120, 231, 167, 167, 4, 134, 118, 223, 169, 219, 119, 131]


BEFORE = {
    "image": {"order": "confidence", "schedule": "cosine", "start": 0.65, "steps": 16, "stop": 1.0, "temperature": 0.8},
    "report": {"order": "random", "schedule": "linear", "start": 0.0, "steps": 48, "stop": 0.65, "temperature": 0.5},
}


def test_inpainting_changes_what_is_marked_and_nothing_else(pipeline, pairs):
    pipeline.configure(QUICK)
    mask = np.zeros((64, 64), bool)
    mask[40:, 8:24] = True
    marked, kept = pipeline.complete(
        [p.image for p in pairs[:2]], [p.report for p in pairs[:2]], image_masks=[mask, None], seeds=[3, 4]
    )
    codes = pipeline._codes([p.image for p in pairs[:2]]).view(2, 8, 8)
    assert np.argwhere(marked.redrawn).tolist() == [[r, c] for r in (5, 6, 7) for c in (1, 2)]
    assert torch.equal(marked.codes.view(8, 8)[~torch.from_numpy(marked.redrawn)], codes[0][~torch.from_numpy(marked.redrawn)])
    assert not torch.equal(marked.codes.view(8, 8), codes[0])
    assert not kept.redrawn.any()
    assert torch.equal(kept.codes.view(8, 8), codes[1])
    assert [marked.report, kept.report] == [p.report for p in pairs[:2]]


def test_every_direction_through_one_call(pipeline, pairs):
    pipeline.configure(QUICK)
    image, report = pairs[0].image, pairs[0].report
    done = pipeline.complete([image, None, None, image], [None, report, None, report], seeds=[1, 2, 3, 4])
    assert done[1].report == done[3].report == report
    codes = pipeline._codes([image])[0]
    assert torch.equal(done[0].codes, codes)
    assert torch.equal(done[3].codes, codes)
    assert done[2].redrawn.all()
    assert done[2].report
    assert pipeline.complete(reports=[report], seeds=[2])[0].codes.tolist() == done[1].codes.tolist()


def test_gaps_are_filled_between_what_is_given(pipeline, pairs):
    pipeline.configure(QUICK)
    text = "frontal chest radiograph. [[ ]] no pleural effusion. [[5]] pacemaker in place."
    done = pipeline.complete([pairs[0].image] * 3, [text] * 3, seeds=[1, 2, 3])
    for one in done:
        assert one.report.startswith("frontal chest radiograph.")
        assert " no pleural effusion." in one.report
        assert one.report.endswith("pacemaker in place.")
        ids = pipeline.reports.ids(one.report)
        assert len(ids) > len(pipeline.reports.ids(text.replace("[[ ]]", "").replace("[[5]]", "")))
    open_end = pipeline.complete([pairs[0].image], ["portable chest radiograph. [[ ]]"], seeds=[1])[0].report
    assert open_end.startswith("portable chest radiograph.")
    spans = pipeline.complete(
        [pairs[0].image], ["portable chest radiograph. xyz. no pneumothorax."], spans=[[(27, 31)]], seeds=[1]
    )[0].report
    assert "xyz" not in spans
    assert spans.startswith("portable chest radiograph.")
    assert spans.endswith(" no pneumothorax.")


def test_the_length_of_a_gap_follows_the_text_behind_it(pipeline, pairs, monkeypatch):
    """The scores of lengths are those of the bound, shortest first; the draw is from their softmax."""
    from medim.sampling.editing import completion

    canvas = pipeline._blank(1).give_image(pipeline._codes([pairs[0].image]))
    text = "frontal chest radiograph. [[ ]] no pleural effusion."
    seen = []
    monkeypatch.setattr(completion, "_scores", lambda *a: seen.append(a[-1]) or torch.tensor([0.0, 2.0, 0.0]).log())
    lengths = [int((~fill_in(pipeline.model, pipeline.reports, text, canvas, seed)[1]).sum()) for seed in range(5)]
    assert lengths == [2] * 5
    assert seen == [completion.LONGEST] * 5


def test_parts_and_spans():
    class Words:
        opening = ()

        def ids(self, text):
            return [len(word) for word in text.split()]

    kinds = [(p.ids, p.length) if p.gap else p.ids for p in parts_of(Words(), "a bb [[ ]] ccc[[3]][[ ]] [[]]  d [[ 12 ]]")]
    assert kinds == [(1, 2), ((), None), (3,), ((), 3), ((), None), (1,), ((), 12)]
    assert with_gaps("One. Two. Three.", [(5, 9)]) == "One. [[ ]] Three."
    assert with_gaps("One. Two.", [(5, 9)]) == "One. [[ ]]"
    assert with_gaps("One two", [(0, 2), (4, 7)]) == " [[ ]] e [[ ]]"
    with pytest.raises(UserError, match="overlaps"):
        with_gaps("One. Two.", [(0, 5), (4, 6)])


def test_what_does_not_fit_is_refused(pipeline, pairs):
    with pytest.raises(UserError, match="and there are 48"):
        pipeline.complete([pairs[0].image], ["no nodule. [[60]]"], seeds=[0])
    with pytest.raises(UserError, match="has a mask and no image"):
        pipeline.complete(image_masks=[(0, 0, 4, 4)], seeds=[0])
    with pytest.raises(UserError, match="reports: 2 for 1 samples"):
        pipeline.complete(reports=["a", "b"], seeds=[0])


def test_an_edit_stays_in_its_region(pipeline, pairs):
    pipeline.configure(QUICK | {"image.guidance": 1.0})
    pair = pairs[0]
    new = "portable chest radiograph. large right pleural effusion."
    whole = pipeline.edit([pair.image] * 2, [pair.report] * 2, [new] * 2, regions=[(0, 32, 32, 32), None], seeds=[1, 2])
    codes = pipeline._codes([pair.image])[0].view(8, 8)
    assert whole[0].redrawn.sum() == 16
    assert 4 <= whole[1].redrawn.sum() <= 24
    assert whole[0].redrawn[4:, :4].all()
    for one in whole:
        outside = ~torch.from_numpy(one.redrawn)
        assert torch.equal(one.codes.view(8, 8)[outside], codes[outside])
        assert not torch.equal(one.codes.view(8, 8), codes)
        assert one.report == new
    found = whole[1].redrawn
    assert found[4:, :4].sum() > 4 * found[:, 4:].sum() / 2  # the right of the patient is the left of the picture


def test_an_edit_is_guided_at_least_so_much_whatever_the_sampler(pipeline, pairs):
    pipeline.configure({**QUICK, "image.guidance": 0, "cache.refresh": 1})

    def guided() -> bool:
        pipeline.edit([pairs[0].image], [pairs[0].report], [pairs[1].report], regions=[(0, 0, 32, 32)], seeds=[1])
        return any(one.guided for decoded in pipeline.spent.decoded for one in decoded.passes)

    before = pipeline.sampler
    assert guided()
    assert pipeline.sampler == before
    pipeline.configure({"edit.guidance": 0})
    assert not guided()


def test_an_edit_may_write_part_of_the_report_too(pipeline, pairs):
    pipeline.configure(QUICK)
    done = pipeline.edit(
        [pairs[0].image], [pairs[0].report], ["portable chest radiograph. [[ ]] pacemaker in place."], seeds=[1]
    )[0]
    assert done.report.endswith("pacemaker in place.")
    assert 4 <= done.redrawn.sum() < 64


def test_a_length_can_be_asked_for(pipeline, pairs):
    pipeline.configure(QUICK | {"report.length": 20})
    reports = pipeline.complete([pairs[0].image] * 2, seeds=[1, 2])
    for one in reports:
        assert one.report
    canvas = pipeline._decode(pipeline._blank(2).give_image(pipeline._codes([pairs[0].image] * 2)), [1, 2])
    assert pipeline.reports.lengths(canvas.report_tokens()).tolist() == [21, 21]


def test_the_best_of_more_candidates_is_never_worse(pipeline, dataset, pairs):
    reports = [p.report for p in pairs]
    pipeline.configure(QUICK)
    alone = pipeline.generate_images(reports, seeds=[1, 2, 3])
    pipeline.configure({"steering.candidates": 4})
    with pytest.raises(UserError, match="need checkers"):
        pipeline.generate_images(reports, seeds=[1, 2, 3])
    pipeline.steer(dataset.steering_image_checker(), dataset.report_checker())
    best = pipeline.generate_images(reports, seeds=[1, 2, 3])
    before, after = pipeline.steering.agreement(alone, reports), pipeline.steering.agreement(best, reports)
    assert (after >= before - 1e-6).all()
    assert after.sum() > before.sum()
    assert pipeline.spent.candidates == 4
    assert pipeline.spent.rows == [3] * 4
    assert pipeline.settings()["steering"]["image_checker"].startswith("phantom-image-checker ")
    single = pipeline.generate_images(reports[1:2], seeds=[2])
    assert np.array_equal(np.asarray(single[0]), np.asarray(best[1]))  # whatever the batch
    pipeline.configure({"steering.budget": 1e6})
    pipeline.generate_images(reports[:1], seeds=[1])
    assert pipeline.spent.candidates == 1


def test_sentences_of_tokens(pipeline):
    text = "chest x-ray. nodule of 1.5 cm . no effusion"
    ids = pipeline.reports.ids(text)
    found = sentence_slices(pipeline.reports, [*ids, pipeline.reports.end, 7, 7])
    assert [sentence for sentence, _ in found] == ["chest x-ray.", "nodule of 1.5 cm .", "no effusion"]
    assert [part for _, place in found for part in ids[place]] == ids
