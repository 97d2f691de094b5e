import pytest

from tasks.adapters.adapter import OneTask
from tasks.downstream import WritesReports, open_downstream
from tasks.downstream.words import split
from tasks.metrics.bleu import bleu_of_sums, bleu_sums
from tasks.metrics.ngrams import References
from tasks.protocols import Generator


@pytest.mark.slow
def test_sixteen_pairs_are_learned_by_heart(small, examples, tmp_path):
    pairs = examples(16)
    fitted = small.fit(pairs, pairs, steps=200, seed=0, out=tmp_path, evaluate_every=50)
    reports = fitted.generate_reports([pair.image for pair in pairs], seeds=[0] * 16)
    known = References([" ".join(split(pair.report)) for pair in pairs])
    sums = bleu_sums(known, known.count([" ".join(split(report)) for report in reports]))
    assert bleu_of_sums(sums.sum(axis=0, keepdims=True), order=4)[0] > 0.95


def test_a_fitted_model_is_a_generator_of_reports_alone(small, examples, tmp_path):
    fitted = small.fit(examples(4), examples(2), steps=1, seed=0, out=tmp_path)
    assert isinstance(fitted, Generator)
    assert isinstance(fitted, OneTask)
    assert isinstance(fitted, WritesReports)
    assert fitted.cannot("report-generation") is None
    assert "report-generation alone" in fitted.cannot("image-generation")
    assert fitted.generate_reports([], seeds=[]) == []


def test_the_papers_sizes():
    described = open_downstream("r2gen").describe()
    assert {key: described[key] for key in ("width", "layers", "heads", "slots", "beams", "dropout", "visual_dropout")} == {
        "width": 512, "layers": 3, "heads": 8, "slots": 3, "beams": 3, "dropout": 0.1, "visual_dropout": 0.5,
    }  # fmt: skip
    recipe = open_downstream("r2gen").recipe
    assert (recipe.batch_size, recipe.learning_rate, recipe.visual_learning_rate) == (16, 1e-4, 5e-5)
    assert (recipe.optimizer, recipe.clip, recipe.weight_decay) == ("amsgrad", ("value", 0.1), 5e-5)


@pytest.mark.slow
def test_the_tiny_preset_learns_phantoms(tmp_path):
    """Findings of 2,000 phantom pairs: far above what a report without its image reaches."""
    from medim.data.phantom.dataset import PhantomDataset
    from tasks.downstream import Example

    data = PhantomDataset()
    drawn = {
        split: [data.pair(split, index) for index in range(count)]
        for split, count in (("train", 2000), ("val", 128), ("test", 200))
    }
    sets = {
        split: [Example(p.id, p.patient, p.image, p.report, frozenset(p.findings)) for p in pairs]
        for split, pairs in drawn.items()
    }
    fitted = open_downstream("r2gen-tiny").fit(sets["train"], sets["val"], steps=600, seed=0, out=tmp_path)
    reports = fitted.generate_reports([example.image for example in sets["test"]], seeds=[0] * 200)
    found = data.report_checker()(reports)
    truth = [example.findings for example in sets["test"]]
    hits = sum(len(one & other) for one, other in zip(found, truth, strict=True))
    assert 2 * hits / (sum(map(len, found)) + sum(map(len, truth))) > 0.3
