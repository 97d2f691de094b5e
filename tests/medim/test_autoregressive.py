"""The autoregressive objective: each token from those before it, in either order, and exactly the language model."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from medim.common.errors import UserError
from medim.denoiser import MeDiMConfig, MeDiMModel
from medim.likelihood.bound import conditional_bound

FIELDS = {"image_codes": 16, "image_length": 9, "report_length": 7, "text_vocabulary": 50, "objective": "autoregressive"}
LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 50,
}


@pytest.fixture
def model() -> MeDiMModel:
    torch.manual_seed(0)
    return MeDiMModel(MeDiMConfig(backbone=LLAMA, **FIELDS)).eval()


@pytest.fixture
def tokens(model) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return model.config.layout.join(
        torch.randint(0, 16, (2, 9), generator=generator), torch.randint(0, 50, (2, 7), generator=generator)
    )


def cost(model: MeDiMModel, tokens: torch.Tensor, select: torch.Tensor, report_first: bool) -> torch.Tensor:
    t = torch.zeros(len(tokens), 2)
    first = torch.full((len(tokens),), report_first)
    return model(tokens, t, select, clean=tokens, alpha=1 - t, weight=torch.ones_like(t), report_first=first)


@pytest.mark.parametrize("report_first", [False, True])
def test_a_token_depends_on_what_stands_before_it_and_on_nothing_else(model, tokens, report_first):
    layout = model.config.layout
    place = list(range(layout.length))
    report = place[layout.report]
    rest = [i for i in place if i not in report]
    order = [*report, *rest] if report_first else [*rest, *report]
    inner = [i for i in order if layout.structure[i] == layout.vocabulary.mask]
    for changed in (inner[0], inner[6], inner[-1]):
        other = tokens.clone()
        other[:, changed] = tokens[:, changed] + (1 if changed in report else -1)
        other[:, changed] = (
            other[:, changed] % 50 if changed in report else other[:, changed].clamp(min=layout.vocabulary.image_offset)
        )
        for i in inner:
            select = torch.zeros_like(tokens, dtype=torch.bool)
            select[:, i] = True
            if i == changed:
                continue
            moved = (cost(model, other, select, report_first) - cost(model, tokens, select, report_first)).abs().max() > 1e-6
            assert bool(moved) is (order.index(changed) < order.index(i) and not bool((other == tokens).all()))


def test_the_chain_rule_adds_up_and_order_is_told_by_the_condition(model, tokens):
    layout = model.config.layout
    told = torch.zeros_like(tokens, dtype=torch.bool)
    told[:, layout.report] = True
    none = torch.zeros_like(told)
    report_given_image = conditional_bound(model, tokens, told, none, 1, 0, range(2))
    select = told.clone()
    torch.testing.assert_close(report_given_image, cost(model, tokens, select, False))
    image = torch.zeros_like(told)
    image[:, layout.image] = True
    torch.testing.assert_close(conditional_bound(model, tokens, image, none, 1, 0, range(2)), cost(model, tokens, image, True))
    joint = conditional_bound(model, tokens, told | image, none, 1, 0, range(2))
    torch.testing.assert_close(joint[:, 1], report_given_image[:, 1])
    part = told.clone()
    part[:, layout.report.start] = False
    with pytest.raises(UserError, match="whole modalities only"):
        conditional_bound(model, tokens, part, none, 1, 0, range(2))


def test_from_a_language_model_its_report_costs_what_the_language_model_says(tmp_path):
    torch.manual_seed(0)
    source = AutoModelForCausalLM.from_config(AutoConfig.for_model(**LLAMA)).eval()
    source.save_pretrained(tmp_path)
    fields = {key: value for key, value in FIELDS.items() if key != "text_vocabulary"}
    model = MeDiMModel.from_backbone(str(tmp_path), **fields).eval()
    report = torch.randint(0, 50, (2, 7), generator=torch.Generator().manual_seed(2))
    tokens = model.config.layout.join(torch.zeros(2, 9, dtype=torch.long), report)
    select = torch.zeros_like(tokens, dtype=torch.bool)
    select[:, model.config.layout.report.start + 1 : model.config.layout.report.stop] = True
    embeddings = torch.cat([model.added.weight[0].expand(2, 1, -1), source.get_input_embeddings()(report[:, :-1])], dim=1)
    expected = torch.nn.functional.cross_entropy(
        source(inputs_embeds=embeddings).logits[:, 1:].transpose(1, 2), report[:, 1:], reduction="none"
    )
    torch.testing.assert_close(cost(model, tokens, select, True)[:, 1], expected.sum(1), rtol=1e-4, atol=1e-4)
