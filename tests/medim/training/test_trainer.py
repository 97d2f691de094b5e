"""The training loss on one fixed batch, from the formula: what each weighting does to each modality."""

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from medim.canvas import MODALITIES
from medim.denoiser import MeDiMConfig, MeDiMModel
from medim.training.recipe import ModelRecipe
from medim.training.trainer import DiffusionTrainer

SHAPE = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": 20,
    "initializer_range": 0.5,
    "tie_word_embeddings": True,
}
LENGTHS = {"image": 9, "report": 12}
TIMES = torch.tensor([[0.5, 0.05], [0.02, 0.9], [0.0, 0.3]])
"""Of image and report, three samples; an image is given."""


def batch_of(model: MeDiMModel) -> dict[str, torch.Tensor]:
    layout, random = model.config.layout, torch.Generator().manual_seed(0)
    codes = torch.randint(0, 8, (3, 9), generator=random)
    clean = layout.join(codes, torch.randint(0, 20, (3, 12), generator=random))
    noised = torch.zeros_like(clean, dtype=torch.bool)
    for column, modality in enumerate(MODALITIES):
        for row in range(3):
            count = math.ceil(float(TIMES[row, column]) * LENGTHS[modality])
            noised[row, torch.arange(layout.length)[layout.of(modality)][:count]] = True
    noisy = clean.masked_fill(noised, layout.vocabulary.mask)
    return {"tokens": clean, "noisy": noisy, "t": TIMES, "noised": noised, "report_first": torch.tensor([True, False, True])}


def loss_of(model: MeDiMModel, batch: dict[str, torch.Tensor], **recipe) -> float:
    recipe = ModelRecipe(backbone=SHAPE, report_length=12, max_steps=1, **recipe)
    trainer = SimpleNamespace(model=model, recipe=recipe, state=SimpleNamespace(global_step=0))
    with torch.no_grad():
        return DiffusionTrainer.compute_loss(trainer, model, batch).item()


def nats_of(model: MeDiMModel, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """- sum over masked positions of log p(x), by sample and modality, (3, 2), from the logits of the whole batch."""
    layout, sums = model.config.layout, torch.zeros(3, 2)
    with torch.no_grad():
        hidden = model.hidden(batch["noisy"], batch["t"], report_first=batch["report_first"])
        for column, modality in enumerate(MODALITIES):
            where = layout.of(modality)
            costs = F.cross_entropy(
                model.logits(hidden[:, where], modality).transpose(1, 2),
                layout.states(batch["tokens"][:, where], modality),
                reduction="none",
            )
            sums[:, column] = (costs * batch["noised"][:, where]).sum(1)
    return sums


WEIGHTINGS = {
    "default": ({}, lambda t: 1 / t),
    "min_snr": ({"min_snr": 5}, lambda t: 1 / (t + (1 - t) / 5)),
    "largest_weight": ({"largest_weight": 4}, lambda t: min(1 / t, 4)),
    "both": ({"min_snr": 5, "largest_weight": 3}, lambda t: min(1 / (t + (1 - t) / 5), 3)),
    "cosine": ({"schedule": "cosine"}, lambda t: math.pi / 2 * math.sin(math.pi / 2 * t) / (1 - math.cos(math.pi / 2 * t))),
}


@pytest.mark.parametrize(("image_weight", "report_weight"), [(1, 1), (0.6, 2)])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_the_loss_is_the_mean_of_weighted_nats_per_position(weighting, image_weight, report_weight):
    r"""\frac 1 B \sum_b \sum_m \lambda_m / N_m * w(t_bm) \sum_i -log p(x_i)."""
    torch.manual_seed(0)
    model = MeDiMModel(
        MeDiMConfig(backbone=SHAPE, text_vocabulary=20, image_codes=8, image_length=9, report_length=12, timestep="none")
    ).eval()
    batch, (settings, weight) = batch_of(model), WEIGHTINGS[weighting]
    nats = nats_of(model, batch)
    expected = 0.0
    for row in range(3):
        for column, (positions, share) in enumerate(((9, image_weight), (12, report_weight))):
            t = float(TIMES[row, column])
            expected += 0.0 if t == 0 else share / positions * weight(t) * float(nats[row, column]) / 3
    found = loss_of(model, batch, image_weight=image_weight, report_weight=report_weight, **settings)
    assert found == pytest.approx(expected, rel=1e-5)


def test_an_autoregressive_loss_has_no_weight_of_time():
    torch.manual_seed(0)
    fields = {"text_vocabulary": 20, "image_codes": 8, "image_length": 9, "report_length": 12}
    model = MeDiMModel(MeDiMConfig(backbone=SHAPE, **fields, objective="autoregressive")).eval()
    batch = batch_of(model)
    layout = model.config.layout
    batch["noisy"], batch["noised"] = batch["tokens"], torch.zeros_like(batch["noised"])
    batch["noised"][:, layout.image] = batch["noised"][:, layout.report] = True
    nats = nats_of(model, batch)
    expected = float((0.5 * nats[:, 0] / 9 + 2 * nats[:, 1] / 12).mean())
    assert loss_of(model, batch, objective="autoregressive", image_weight=0.5, report_weight=2) == pytest.approx(expected)
