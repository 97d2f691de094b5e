"""Each failure signature, put into a model by hand, is found and named."""

import pytest
import torch

from benchmark.doctor import checkpoint as diagnosis
from benchmark.doctor.checkpoint import diagnose
from medim.data.tokens.cache import tokenise_split
from medim.pipeline import MeDiMPipeline
from medim.training.train import train_model


@pytest.fixture(scope="module")
def trained(squares, recipe_file, tmp_path_factory):
    settings = ("mixture={image-given: 1.0, joint: 1.0}", "eval_steps=120", "positions=learned")
    return train_model(str(recipe_file), squares, tmp_path_factory.mktemp("model"), overrides=settings, steps=120, device="cpu")


@pytest.fixture
def pipeline(trained) -> MeDiMPipeline:
    return MeDiMPipeline.from_pretrained(trained, device="cpu")


def found(pipeline, name, dataset=None):
    [check] = [check for check in diagnose(pipeline, dataset, limit=8) if check.name == name]
    return check


def test_a_sound_model_passes_on_itself_and_every_line_has_a_figure(pipeline, squares):
    checks = list(diagnose(pipeline, squares, limit=8))
    assert len({check.name for check in checks}) == len(checks) == 11
    assert all(check.figure for check in checks)
    assert all(check.advice for check in checks if check.verdict in ("warn", "fail"))
    assert {check.verdict for check in checks[:5]} <= {"pass", "warn"}


def test_without_data_it_says_what_was_not_looked_at(pipeline):
    assert [check.verdict for check in diagnose(pipeline)][-1] == "unknown"


class Few:
    """Of a data set so many pairs of each split."""

    def __init__(self, base, **sizes: int) -> None:
        self.base, self.sizes, self.name, self.fingerprint = base, sizes, "few", f"few-{sizes}"

    def size(self, split):
        return self.sizes.get(split, 0)

    def pair(self, split, index):
        return self.base.pair(split, index)


def test_pairs_for_the_test_alone_are_none_to_diagnose_on(pipeline, squares):
    check = list(diagnose(pipeline, Few(squares, test=4)))[-1]
    assert (check.name, check.verdict) == ("on data", "unknown")
    assert check.figure == "'few' has no training and no validation pairs"


def test_a_single_pair_is_not_compared_with_itself(pipeline, squares):
    verdicts = {check.name: check.verdict for check in diagnose(pipeline, Few(squares, train=1, val=1))}
    assert verdicts["domain shift of image tokens"] == "unknown"
    assert verdicts["the image informs the report"] == "unknown"


def test_a_causal_mask_that_is_still_there(pipeline):
    pipeline.model.backbone.set_attention("causal")  # as a kernel that ignores the configuration would
    assert found(pipeline, "attention sees both sides").verdict == "fail"


def test_a_time_that_reaches_nothing(pipeline):
    pipeline.model.backbone.reset_modulation()
    assert found(pipeline, "the timestep matters").verdict == "fail"


def test_gates_that_are_reversed_and_scales_that_blow_up(pipeline):
    block = pipeline.model.backbone.adaln[0].modulation
    with torch.no_grad():
        block.bias[:] = -2.0
    assert found(pipeline, "gates of the modulation").verdict == "warn"
    with torch.no_grad():
        block.bias[:] = 100.0
    assert found(pipeline, "scales of the modulation").verdict == "fail"


def test_a_weight_that_is_no_number(pipeline):
    with torch.no_grad():
        pipeline.model.image_head.weight[0, 0] = float("nan")
    check = next(diagnose(pipeline))
    assert check.verdict == "fail"
    assert "image_head" in check.figure


def test_a_collapsed_codebook_and_a_shift_between_splits(pipeline, squares):
    split = tokenise_split(squares, "train", pipeline.images, pipeline.reports)
    one = type(split)(torch.zeros_like(split.image[:]), split.report, split.prompt, split.text_bytes, split.truncated)
    pipeline.images.codes = 4096
    assert diagnosis.codebook_use(pipeline.images, one).verdict == "fail"
    far = type(split)(split.image[:] * 0 + 3000, split.report, split.prompt, split.text_bytes, split.truncated)
    assert diagnosis.same_domain(pipeline.images, one, far).verdict == "warn"
    assert diagnosis.same_domain(pipeline.images, one, one).verdict == "pass"


def test_reports_that_ignore_the_image(pipeline, squares):
    split = tokenise_split(squares, "val", pipeline.images, pipeline.reports)
    blind = type(split)(torch.zeros_like(split.image[:]), split.report, split.prompt, split.text_bytes, split.truncated)
    assert diagnosis.image_informs(pipeline.model, pipeline, blind, 0).verdict == "fail"


def test_reports_that_are_cut(squares, pipeline):
    split = tokenise_split(squares, "val", pipeline.images, pipeline.reports)
    assert diagnosis.truncation(split, 16).verdict == "pass"
    cut = type(split)(split.image, split.report, split.prompt, split.text_bytes, torch.ones(len(split)))
    assert diagnosis.truncation(cut, 16).verdict == "warn"


@pytest.mark.parametrize(
    ("known", "own", "says"),
    [
        (8.0, True, "trained on this very data: train a larger one"),
        (8.0, False, "did no better on the images that it was trained on: train a larger one"),
        (40.0, False, "not what the tokenizer learnt: train one on them"),
        (40.0, True, "trained on this very data"),
        (None, False, "or, where it was, a larger one"),
    ],
)
def test_nobody_is_told_to_train_a_tokenizer_on_the_images_that_it_was_trained_on(pipeline, squares, known, own, says):
    data = {"name": "x", "fingerprint": squares.fingerprint if own else "other"}
    pipeline.images.training = {"data": data} | ({} if known is None else {"val": {"psnr": known}})
    check = diagnosis.round_trip(pipeline, squares, "val", 4)  # an untrained tokenizer: some 8 dB
    assert check.verdict == "warn"
    assert says in check.advice


def test_advice_names_nothing_that_the_model_has_or_that_no_recipe_knows(pipeline):
    block = pipeline.model.backbone.adaln[0].modulation
    with torch.no_grad():
        block.bias[:] = -2.0
    assert "gating=identity" not in found(pipeline, "gates of the modulation").advice
    pipeline.model.config.objective, pipeline.model.time = "autoregressive", None
    names = ("attention sees both sides", "the timestep matters")
    verdicts = [check.verdict for check in diagnose(pipeline) if check.name in names]
    assert verdicts == ["pass", "pass"]
