import pytest

from tasks.adapters.adapter import OneTask
from tasks.downstream import WritesReports, open_downstream
from tasks.downstream.words import split
from tasks.metrics.text.bleu import bleu_of_sums, bleu_sums
from tasks.metrics.text.ngrams import References
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


def test_another_resnet_is_another_model(tmp_path):
    described = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text(name)
        described.append(open_downstream(f"r2gen:{tmp_path / name}").describe()["visual"])
    assert described[0].startswith("resnet ")
    assert described[0] != described[1]
    (tmp_path / "one").rename(tmp_path / "moved")
    assert open_downstream(f"r2gen:{tmp_path / 'moved'}").describe()["visual"] == described[0]
