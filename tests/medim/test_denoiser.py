"""The denoiser keeps the language model's function, reads logits where it says, and saves and loads."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

from medim.backbones.causal_lm import load_config
from medim.common.errors import UserError
from medim.denoiser import MeDiMConfig, MeDiMModel

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text")
WINDOW = 4  # shorter than the canvas, so that sliding windows matter
FIELDS = {"image_codes": 16, "image_length": 9, "report_length": 7}


def language_model(family: str, tied: bool = False) -> AutoModelForCausalLM:
    own = {
        "mistral": {"sliding_window": WINDOW},
        "qwen2": {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
        "gemma2": {"sliding_window": WINDOW, "query_pre_attn_scalar": 8},
        "gemma3_text": {
            "sliding_window": WINDOW,
            "query_pre_attn_scalar": 8,
            "layer_types": ["sliding_attention"] * 2 + ["full_attention"],
        },
    }
    config = AutoConfig.for_model(
        family,
        **own.get(family, {}),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        vocab_size=50,
        tie_word_embeddings=tied,
    )
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


def from_folder(tmp_path, family: str, tied: bool = False, **fields) -> tuple:
    source = language_model(family, tied)
    source.save_pretrained(tmp_path / family)
    return source, MeDiMModel.from_backbone(str(tmp_path / family), **FIELDS, **fields).eval()


def tokens_for(model: MeDiMModel, batch: int = 2) -> torch.Tensor:
    return torch.randint(0, 50, (batch, model.config.layout.length), generator=torch.Generator().manual_seed(1))


def no_causal_mask(config, length: int):
    """What transformers' own forward takes in place of its causal mask: a window to both sides, or nothing hidden."""
    full = torch.zeros(2, 1, length, length)
    place = torch.arange(length)
    window = full.masked_fill((place[:, None] - place[None]).abs() >= WINDOW, torch.finfo(torch.float32).min)
    if config.model_type == "mistral":
        return window
    return {"full_attention": full, "sliding_attention": window} if hasattr(config, "layer_types") else full


def logits(model: MeDiMModel, tokens: torch.Tensor, t: torch.Tensor, modality: str = "report") -> torch.Tensor:
    """Of every position of the modality, (B, N, V)."""
    return model.logits(model.hidden(tokens, t)[:, model.config.layout.of(modality)], modality)


def everywhere(tokens: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(tokens, dtype=torch.bool)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_at_step_0_a_causal_denoiser_is_the_language_model(tmp_path, family, tied, implementation):
    source, model = from_folder(tmp_path, family, tied, attention="causal")
    model.backbone.set_kernel(implementation)
    tokens = tokens_for(model)
    expected = source(tokens).logits[:, model.config.layout.report]
    actual = logits(model, tokens, torch.rand(2, 2))
    assert (actual - expected).abs().max() < 1e-5


@pytest.mark.parametrize("positions", ["rotary", "learned"])
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("timestep", ["adaln", "additive", "none"])
@pytest.mark.parametrize("family", FAMILIES)
def test_at_step_0_a_bidirectional_denoiser_is_the_language_model_with_its_mask_removed(
    tmp_path, family, timestep, implementation, positions
):
    source, model = from_folder(tmp_path, family, timestep=timestep, positions=positions)
    model.backbone.set_kernel(implementation)
    tokens = tokens_for(model)
    expected = source(tokens, attention_mask=no_causal_mask(source.config, tokens.shape[1])).logits[
        :, model.config.layout.report
    ]
    actual = logits(model, tokens, torch.rand(2, 2))
    assert (actual - expected).abs().max() < 1e-5
    assert (actual - source(tokens).logits[:, model.config.layout.report]).abs().max() > 1e-3


def test_shifted_logits_are_read_one_position_earlier(tmp_path):
    source, model = from_folder(tmp_path, "llama", attention="causal", logit_alignment="shift")
    tokens = tokens_for(model)
    where = model.config.layout.report
    expected = source(tokens).logits[:, where.start - 1 : where.stop - 1]
    actual = logits(model, tokens, torch.rand(2, 2))
    assert (actual - expected).abs().max() < 1e-5


def test_the_loss_is_that_of_the_logits_at_the_noised_positions_in_any_number_of_pieces(tmp_path, monkeypatch):
    _, model = from_folder(tmp_path, "llama")
    clean, t, weight = tokens_for(model, 3), torch.rand(3, 2), torch.rand(3, 2)
    clean[:, model.config.layout.image] += model.config.layout.vocabulary.image_offset
    clean[:, model.config.layout.image] = clean[:, model.config.layout.image].clamp(max=model.config.layout.vocabulary.size - 1)
    noised = torch.rand(clean.shape, generator=torch.Generator().manual_seed(2)) < 0.4
    noisy = clean.masked_fill(noised, model.config.layout.vocabulary.mask)
    found = model(noisy, t, noised, clean, 1 - t, weight)
    for column, modality in enumerate(("image", "report")):
        where = model.config.layout.of(modality)
        states = model.config.layout.states(clean[:, where], modality)
        cost = torch.nn.functional.cross_entropy(logits(model, noisy, t, modality).transpose(1, 2), states, reduction="none")
        torch.testing.assert_close(found[:, column], weight[:, column] * (cost * noised[:, where]).sum(1))
    monkeypatch.setattr("medim.diffusion.objective.LOGITS_AT_ONCE", 100)
    torch.testing.assert_close(model(noisy, t, noised, clean, 1 - t, weight), found)


def test_time_matters_once_the_modulation_is_not_zero_and_each_modality_has_its_own(tmp_path):
    _, model = from_folder(tmp_path, "llama")
    tokens = tokens_for(model)
    torch.nn.init.normal_(model.backbone.adaln[0].modulation.weight, std=0.5)
    results = [logits(model, tokens, torch.tensor([t] * 2)) for t in ((0.1, 0.9), (0.9, 0.1), (0.1, 0.8))]
    assert all((a - b).abs().max() > 1e-4 for a, b in zip(results, [*results[1:], results[0]], strict=True))


def test_codes_that_look_alike_start_alike(tmp_path):
    _, model = from_folder(tmp_path, "llama")
    codebook = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
    codebook[1] = codebook[0] + 0.01
    scale = model.added.weight.std()
    model.graft_codebook(codebook, torch.Generator().manual_seed(0))
    rows = model.added.weight[3:]
    assert (rows[0] - rows[1]).norm() < 0.05 * (rows[0] - rows[2]).norm()
    assert 0.5 < rows.std() / scale < 2


def test_saved_and_loaded_is_the_same_model_and_its_modulation_survives(tmp_path):
    _, model = from_folder(tmp_path, "llama")
    torch.nn.init.normal_(model.backbone.adaln[0].modulation.weight, std=0.5)
    model.save_pretrained(tmp_path / "medim")
    modes = {path.stat().st_mode for path in (tmp_path / "medim").iterdir()}
    assert len(modes) == 1  # the weights too: who may read is the umask's to say
    again = MeDiMModel.from_pretrained(tmp_path / "medim").eval()
    tokens, t = tokens_for(model), torch.rand(2, 2)
    for modality in ("image", "report"):
        torch.testing.assert_close(logits(again, tokens, t, modality), logits(model, tokens, t, modality))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_loaded_trains_on_as_what_was_saved(tmp_path, family):
    _, model = from_folder(tmp_path, family, positions="learned", logit_alignment="shift")
    torch.nn.init.normal_(model.backbone.adaln[0].modulation.weight, std=0.5)
    model.save_pretrained(tmp_path / "medim")
    again = MeDiMModel.from_pretrained(tmp_path / "medim")
    layout, t = model.config.layout, torch.full((2, 2), 0.5)
    clean = layout.join(torch.arange(18).reshape(2, 9) % 16, torch.arange(14).reshape(2, 7))
    noisy = clean.masked_fill(everywhere(clean), layout.vocabulary.mask)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    for each in (model, again):
        each.train()
        optimizer = torch.optim.AdamW(each.parameters(), lr=1e-2)
        each(noisy, t, everywhere(clean), clean=clean, alpha=1 - t, weight=1 / t).sum().backward()
        optimizer.step()
    for (name, ours), theirs in zip(model.named_parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(theirs, ours, msg=name)
    assert sum(not torch.equal(before[name], weight) for name, weight in again.named_parameters()) > len(before) / 2


def test_gradient_checkpointing_changes_no_gradient_over_two_micro_batches(tmp_path):
    _, model = from_folder(tmp_path, "llama")
    torch.nn.init.normal_(model.backbone.adaln[0].modulation.weight, std=0.5)
    model.train()
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable()
        model.zero_grad()
        for t in (0.2, 0.7):
            tokens = tokens_for(model)
            logits(model, tokens, torch.full((2, 2), t)).square().mean().backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_layers_are_cut_from_the_front(tmp_path):
    language_model("llama").save_pretrained(tmp_path / "lm")
    model = MeDiMModel.from_backbone(str(tmp_path / "lm"), layers=2, **FIELDS)
    assert len(model.backbone.decoder.layers) == 2
    model.save_pretrained(tmp_path / "cut")
    assert len(MeDiMModel.from_pretrained(tmp_path / "cut").backbone.decoder.layers) == 2
    with pytest.raises(UserError, match="layers: 9 requested"):
        MeDiMModel.from_backbone(str(tmp_path / "lm"), layers=9, **FIELDS)


def test_an_unknown_configuration_key_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'timestep'"):
        MeDiMConfig(timesteps="adaln")
    with pytest.raises(UserError, match="did you mean 'causal'"):
        MeDiMConfig(attention="casual")


def test_a_backbone_that_is_not_there_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        MeDiMModel.from_backbone(str(tmp_path / "nothing"), **FIELDS)


@pytest.mark.parametrize("name", ["runs/nothing", "weights/nothing", "./nothing", "../nothing"])
def test_the_hub_is_not_asked_for_a_backbone_that_can_only_be_a_folder(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"folder '{name}' does not exist"):
        MeDiMModel.from_backbone(name, **FIELDS)


def test_a_backbone_that_knows_image_codes_keeps_its_rows_for_them(tmp_path):
    source = language_model("gemma")
    source.save_pretrained(tmp_path / "liquid")
    model = MeDiMModel.from_backbone(str(tmp_path / "liquid"), image_offset=34, **FIELDS)
    assert model.config.text_vocabulary == 34
    rows = source.get_input_embeddings().weight[34:50]
    codes = model.config.layout.vocabulary.image_ids(torch.arange(16))
    torch.testing.assert_close(model.embed(codes[None, :9].repeat(1, 2))[0, :9], rows[:9] * 32**0.5)
    torch.testing.assert_close(model.image_head.weight, source.lm_head.weight[34:50])
    with pytest.raises(UserError, match="has 50 rows: no 16 image codes from 40 on"):
        MeDiMModel.from_backbone(str(tmp_path / "liquid"), image_offset=40, **FIELDS)


@pytest.mark.parametrize("tied", [False, True])
def test_reports_have_logits_over_text_alone_in_any_shape(tmp_path, tied):
    """A backbone that knows image codes has rows for them in its head, and a sampler asks for (B, K, width)."""
    language_model("llama", tied).save_pretrained(tmp_path / "liquid")
    model = MeDiMModel.from_backbone(str(tmp_path / "liquid"), image_offset=34, **FIELDS).eval()
    hidden = torch.randn(2, 5, 32)
    with torch.no_grad():
        found = model.logits(hidden, "report")
        assert found.shape == (2, 5, 34)
        torch.testing.assert_close(found.flatten(0, 1), model.logits(hidden.flatten(0, 1), "report"))


def test_a_kernel_that_would_not_obey_is_refused(tmp_path):
    _, model = from_folder(tmp_path, "llama")
    with pytest.raises(UserError, match="unknown attention kernel 'flex_attention'; did you mean 'flash_attention_"):
        model.backbone.set_kernel("flex_attention")


def test_a_kernel_whose_package_is_missing_is_a_mistake_of_one_line(tmp_path, monkeypatch):
    _, model = from_folder(tmp_path, "llama")

    def refuse(implementation: str) -> None:
        raise ImportError(f"{implementation} has been toggled on, but the package is missing.\nInstall it.")

    monkeypatch.setattr(model.backbone.decoder, "set_attn_implementation", refuse)
    with pytest.raises(UserError, match=r"attention kernel 'flash_attention_2': .* the package is missing\.$"):
        model.backbone.set_kernel("flash_attention_2")


def test_a_language_model_inside_one_with_images_starts_from_its_weights_and_from_random_ones(tmp_path):
    text = language_model("gemma3_text", tied=True).config.to_dict()
    vision = {
        "hidden_size": 8,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "image_size": 28,
        "patch_size": 14,
    }
    both = AutoConfig.for_model("gemma3", text_config=text, vision_config=vision, mm_tokens_per_image=4)
    AutoModelForImageTextToText.from_config(both).save_pretrained(tmp_path)
    pretrained = MeDiMModel.from_backbone(str(tmp_path), layers=2, **FIELDS)
    config = load_config(str(tmp_path), layers=2)
    assert (config.model_type, config.num_hidden_layers, config.vocab_size) == ("gemma3_text", 2, 50)
    model = MeDiMModel(MeDiMConfig(backbone=config.to_dict(), text_vocabulary=config.vocab_size, **FIELDS))
    assert {name: p.shape for name, p in model.named_parameters()} == {n: p.shape for n, p in pretrained.named_parameters()}
    with pytest.raises(UserError, match=r"layers: 4 requested, but .* has 3"):
        load_config(str(tmp_path), layers=4)
