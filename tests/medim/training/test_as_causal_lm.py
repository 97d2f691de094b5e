"""A model trained from left to right is a plain causal LM, and a backbone that knows its image codes."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from medim.backbones.causal_lm import CAUSAL_LM
from medim.common.errors import UserError
from medim.denoiser import MeDiMConfig, MeDiMModel
from medim.tokenizers.image import ImageTokenizer
from medim.training.as_causal_lm import as_causal_lm
from medim.training.train import train_model

SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 50,
}
FIELDS = {"image_codes": 16, "image_length": 9, "report_length": 7, "text_vocabulary": 50}


def left_to_right(family: str = "llama", tied: bool = True, **fields) -> MeDiMModel:
    torch.manual_seed(0)
    shape = {**SHAPE, "model_type": family, "tie_word_embeddings": tied}
    return MeDiMModel(MeDiMConfig(backbone=shape, **{**FIELDS, "objective": "autoregressive", **fields})).eval()


def plain_ids(model: MeDiMModel, tokens: torch.Tensor) -> torch.Tensor:
    """Canvas ids as ids of the plain LM: text, codes, then MASK, BOI, EOI."""
    vocabulary = model.config.layout.vocabulary
    codes = tokens - vocabulary.image_offset + vocabulary.text
    structure = tokens + vocabulary.codes
    return torch.where(tokens < vocabulary.text, tokens, torch.where(tokens < vocabulary.image_offset, structure, codes))


@pytest.mark.parametrize("report_first", [False, True])
@pytest.mark.parametrize(("family", "tied"), [("llama", True), ("llama", False), ("qwen3", True), ("gemma2", True)])
def test_the_plain_model_gives_every_token_the_same_logits(family, tied, report_first):
    model = left_to_right(family, tied)
    layout = model.config.layout
    generator = torch.Generator().manual_seed(1)
    tokens = layout.join(torch.randint(0, 16, (2, 9), generator=generator), torch.randint(0, 50, (2, 7), generator=generator))
    first = torch.full((2,), report_first)
    hidden = model.hidden(tokens, torch.zeros(2, 2), report_first=first)
    place = torch.arange(layout.length)
    rest = torch.cat([place[: layout.report.start], place[layout.report.stop :]])
    order = torch.cat([place[layout.report], rest] if report_first else [rest, place[layout.report]])
    plain = plain_ids(model, tokens)[:, order]
    opened = torch.cat([torch.full((2, 1), 50 + 16), plain[:, :-1]], dim=1)
    logits = torch.empty(2, layout.length, 50 + 16 + 3)
    logits[:, order] = as_causal_lm(model)(opened).logits
    ours = {m: model.logits(hidden[:, layout.of(m)], m) for m in ("image", "report")}
    torch.testing.assert_close(logits[:, layout.image, 50:66], ours["image"], atol=5e-5, rtol=1e-4)
    torch.testing.assert_close(logits[:, layout.report, :50], ours["report"], atol=5e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"objective": "diffusion"}, "objective=diffusion"),
        ({"positions": "learned"}, "positions=learned"),
        ({"backbone": {**SHAPE, "model_type": "dit"}}, "a dit is no language model"),
    ],
)
def test_what_is_no_language_model_is_refused(fields, reason):
    backbone = fields.pop("backbone", {**SHAPE, "model_type": "llama"})
    if backbone["model_type"] == "dit":
        backbone = {key: value for key, value in backbone.items() if key not in ("num_key_value_heads", "head_dim")}
    model = MeDiMModel(MeDiMConfig(backbone=backbone, **{**FIELDS, "objective": "autoregressive", **fields}))
    with pytest.raises(UserError, match=reason):
        as_causal_lm(model)


@pytest.fixture(scope="module")
def prior(squares, recipe_file, tmp_path_factory):
    """A folder trained from left to right, and the recipe that goes on from it."""
    out = tmp_path_factory.mktemp("prior") / "prior"
    train_model(str(recipe_file), squares, out, overrides=("objective=autoregressive",), device="cpu")
    offset = len(AutoTokenizer.from_pretrained(out / CAUSAL_LM))
    return out, (f"backbone={out}", "pretrained=true", "report_vocabulary=null", "max_steps=1", "eval_steps=1"), offset


def test_a_diffusion_starts_from_it_as_from_liquid(squares, recipe_file, prior, tmp_path):
    """At step 0 the denoiser with its causal mask is the language model, on text ids and on image codes alike."""
    out, settings, offset = prior
    source = AutoModelForCausalLM.from_pretrained(out / CAUSAL_LM).eval()
    model = MeDiMModel.from_backbone(
        str(out), image_offset=offset, image_codes=8, image_length=16, report_length=16, attention="causal"
    ).eval()
    layout = model.config.layout
    generator = torch.Generator().manual_seed(0)
    tokens = torch.where(
        torch.rand(2, layout.length, generator=generator) < 0.5,
        torch.randint(0, offset, (2, layout.length), generator=generator),
        layout.vocabulary.image_offset + torch.randint(0, 8, (2, layout.length), generator=generator),
    )
    expected = source(plain_ids(model, tokens)).logits
    hidden = model.hidden(tokens, torch.rand(2, 2))
    report, image = model.logits(hidden[:, layout.report], "report"), model.logits(hidden[:, layout.image], "image")
    torch.testing.assert_close(report, expected[:, layout.report, :offset], atol=5e-5, rtol=1e-4)
    torch.testing.assert_close(image, expected[:, layout.image, offset : offset + 8], atol=5e-5, rtol=1e-4)
    trained = train_model(
        str(recipe_file), squares, tmp_path / "d", overrides=(*settings, f"backbone_image_offset={offset}"), device="cpu"
    )
    assert (trained / "model.safetensors").exists()
    assert not (trained / CAUSAL_LM).exists()


def test_codes_from_another_place_or_of_another_tokenizer_are_refused(squares, recipe_file, prior, tmp_path):
    _, settings, offset = prior
    with pytest.raises(UserError, match=f"set backbone_image_offset={offset}"):
        train_model(str(recipe_file), squares, tmp_path / "a", overrides=settings, device="cpu")
    other = ImageTokenizer.build(16, 4, 8, channels=(8, 8, 8), latent_channels=4)
    other.codebook.data[0] += 1
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(UserError, match="knows the codes of image tokenizer"):
        train_model(
            str(recipe_file),
            squares,
            tmp_path / "b",
            tokenizer=str(tmp_path / "other"),
            overrides=(*settings, f"backbone_image_offset={offset}"),
            device="cpu",
        )
