"""On real pairs: a small model learns eight of them by heart, down to what choosing among eight leaves."""

import math

import pytest
import torch

from medim.data.loading import load_dataset
from medim.data.tokens.cache import TokenSplit, tokenise_split
from medim.likelihood.bound import likelihood
from medim.tokenizers.image import ImageTokenizer
from medim.tokenizers.report import ReportTokenizer
from medim.training.recipe import ModelRecipe
from medim.training.train import build
from medim.training.trainer import fit

RECIPE = ModelRecipe(
    backbone={
        "model_type": "llama",
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "tie_word_embeddings": True,
    },
    pretrained=False,
    report_vocabulary=600,
    report_length=96,
    positions="learned",
    mixture={"joint": 1.0},
    largest_weight=5.0,
    optimizer="muon",
    muon_learning_rate=1e-2,
    learning_rate=2e-3,
    warmup_steps=20,
    max_steps=500,
    per_device_train_batch_size=32,
    eval_steps=500,
    save_steps=500,
    logging_steps=100,
    eval_pairs=8,
    eval_draws=32,
)


@pytest.mark.slow
def test_eight_real_pairs_are_learnt_to_the_floor(shared_data, tmp_path):
    dataset = load_dataset(str(shared_data / "cxr"))
    torch.manual_seed(0)
    images = ImageTokenizer.build(64, 16, 64, channels=(8, 8, 16, 16, 16), latent_channels=8)
    first = {dataset.pair("train", i).report: i for i in reversed(range(40))}  # views of one study share their report
    rows = torch.tensor(sorted(first.values())[:8])
    texts = [dataset.pair("train", i).report for i in rows.tolist()]
    reports = ReportTokenizer.train(texts, RECIPE.report_vocabulary, RECIPE.report_length)
    every = tokenise_split(dataset, "train", images, reports, limit=40)
    tokens = TokenSplit(**{name: column[:][rows] for name, column in vars(every).items()})
    model = build(RECIPE, images, reports)
    fit(model, RECIPE, tokens, tokens, reports, tmp_path, "cpu")
    bound = likelihood(model, tokens, "joint", draws=64)
    image, report = bound.mean(0).tolist()
    real = float(reports.lengths(tokens.report[:]).float().mean())
    floor = math.log(8)
    assert report / real < floor / real + 0.05
    total = image + report
    assert (total - floor) / (real + images.length) < 0.05
    error = bound.std(0).sum() / len(bound) ** 0.5
    assert total > floor - 3 * float(error)
