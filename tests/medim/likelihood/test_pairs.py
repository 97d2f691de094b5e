"""What a pipeline says of pairs: nats by modality and condition, and the evidence of an image for each sentence."""

import pytest
import torch

from medim.common.errors import UserError
from medim.data.tokens.cache import tokenise_split
from medim.denoiser import MeDiMConfig, MeDiMModel
from medim.likelihood.bound import evidence, likelihood
from medim.pipeline import MeDiMPipeline
from medim.sampling.settings import SamplerSettings
from medim.tokenizers.image import ImageTokenizer
from medim.tokenizers.report import ReportTokenizer
from medim.tokenizers.sentences import sentence_tokens

LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}


@pytest.fixture(scope="module")
def tokenizers(squares):
    reports = ReportTokenizer.train((squares.pair("train", i).report for i in range(32)), 300, 16)
    return ImageTokenizer.build(16, 4, 8, channels=(8, 8, 8), latent_channels=4), reports


def pipeline(tokenizers, **fields) -> MeDiMPipeline:
    images, reports = tokenizers
    torch.manual_seed(0)
    config = MeDiMConfig(
        backbone={**LLAMA, "vocab_size": reports.size},
        text_vocabulary=reports.size,
        image_codes=8,
        image_length=16,
        report_length=16,
        positions="learned",
        **fields,
    )
    return MeDiMPipeline(MeDiMModel(config), images, reports, SamplerSettings(), "small", "small-1")


@pytest.fixture
def pairs(squares):
    chosen = [squares.pair("test", index) for index in range(5)]
    return [pair.image for pair in chosen], [pair.report for pair in chosen]


@pytest.mark.parametrize("fields", [{}, {"transition": "hybrid"}, {"objective": "autoregressive"}], ids=str)
@pytest.mark.parametrize("condition", ["joint", "report|image", "image|report", "report", "image"])
def test_it_is_the_validation_bound_of_each_pair(tokenizers, squares, pairs, fields, condition):
    small = pipeline(tokenizers, **fields)
    tokens = tokenise_split(squares, "test", *tokenizers, limit=5)
    whole = likelihood(small.model, tokens, condition, draws=3)
    said = small.log_likelihood(*pairs, condition, draws=3, batch=2)
    torch.testing.assert_close(said.nats.float(), whole, atol=1e-4, rtol=1e-4)
    assert said.exact is (fields.get("objective") == "autoregressive")
    assert (said.standard_error.sum() == 0) == said.exact
    torch.testing.assert_close(said.log_likelihood, -said.nats.sum(1))
    told = [bool(column.abs().sum()) for column in said.nats.T]
    assert told == ["image" in condition.partition("|")[0] or condition == "joint", condition not in ("image", "image|report")]


def test_tokens_and_bytes_are_counted(tokenizers, pairs):
    said = pipeline(tokenizers).log_likelihood(*pairs, "report", draws=1)
    reports = tokenizers[1]
    assert said.report_tokens.tolist() == [len(reports.ids(text)) + 1 for text in pairs[1]]
    assert said.image_tokens.tolist() == [16] * 5
    assert said.text_bytes.tolist() == [len(text) for text in pairs[1]]
    assert said.standard_error.isnan().all()  # a single draw has none


def test_a_pair_costs_the_same_in_any_company_under_its_own_seed(tokenizers, pairs):
    small = pipeline(tokenizers)
    seeds = [2**62 + 7 * i for i in range(5)]
    every = small.log_likelihood(*pairs, draws=2, seeds=seeds)
    alone = small.log_likelihood(pairs[0][3:4], pairs[1][3:4], draws=2, seeds=seeds[3:4])
    torch.testing.assert_close(every.nats[3:4], alone.nats, atol=1e-4, rtol=1e-5)
    with pytest.raises(ValueError, match="5 images, 5 reports and 2 seeds"):
        small.log_likelihood(*pairs, seeds=[0, 1])


def test_a_report_that_does_not_fit_has_no_likelihood(tokenizers, pairs):
    small = pipeline(tokenizers)
    long = "the square is red. " * 9
    said = small.log_likelihood(pairs[0][:2], [long, pairs[1][1]], draws=2)
    assert said.truncated.tolist() == [True, False]
    assert said.nats[0].isnan().all()
    assert said.nats[1].isfinite().all()
    with pytest.raises(UserError, match="do not fit into 16"):
        small.evidence(pairs[0][0], long)


def test_unknown_conditions_name_the_nearest(tokenizers, pairs):
    with pytest.raises(UserError, match=r"did you mean 'report\|image'"):
        pipeline(tokenizers).log_likelihood(*pairs, "report|imag")
    with pytest.raises(UserError, match="draws must be at least 1"):
        pipeline(tokenizers).log_likelihood(*pairs, draws=0)


@pytest.mark.parametrize("fields", [{}, {"transition": "uniform"}, {"transition": "hybrid"}], ids=str)
def test_evidence_is_by_sentence(tokenizers, pairs, fields):
    said = pipeline(tokenizers, **fields).evidence(pairs[0][0], pairs[1][0], draws=4)
    assert [one.text for one in said] == ["the square is red.", "no circle."]
    assert all(one.standard_error > 0 for one in said)


def test_the_evidence_of_an_autoregressive_model_adds_up_to_what_the_image_tells(tokenizers, pairs):
    small = pipeline(tokenizers, objective="autoregressive")
    image, report = pairs[0][0], pairs[1][0]
    said = small.evidence(image, report)
    assert [one.standard_error for one in said] == [0, 0]
    given, alone = (small.log_likelihood([image], [report], c).nats[0, 1] for c in ("report|image", "report"))
    clean = small.model.config.layout.join(small.images.encode_images([image]), small.reports.encode([report]))[0]
    first, second = (span for _, span in sentence_tokens(small.reports, report))
    parts, _ = evidence(small.model, clean, [first, second, slice(second.stop, 16)])  # the rest: the end and padding
    assert [one.nats for one in said] == pytest.approx(parts[:2].tolist())
    assert float(parts.sum()) == pytest.approx(float(alone - given), abs=1e-4)
