from dataclasses import replace

import pytest
import torch

from tasks.downstream.vision_encoder_decoder import PRESETS, VisionEncoderDecoder, VisionEncoderDecoderNetwork, Writing

SMALL = replace(
    PRESETS["ved-tiny"], side=32, width=16, heads=2, layers=1, decoder_layers=1, threshold=1, longest=24,
    recipe=replace(PRESETS["ved-tiny"].recipe, batch_size=16, learning_rate=1e-2, visual_learning_rate=1e-2),
)  # fmt: skip


def test_it_learns_and_is_opened_again(examples, tmp_path):
    model = VisionEncoderDecoder("small", SMALL, "cpu")
    pairs = examples(16)
    fitted = model.fit(pairs, pairs, steps=150, seed=0, out=tmp_path, evaluate_every=50)
    images = [pair.image for pair in pairs]
    reports = fitted.generate_reports(images, seeds=[0] * 16)
    assert sum(report == pair.report.lower() for report, pair in zip(reports, pairs, strict=True)) >= 12
    assert model.open(tmp_path).generate_reports(images, seeds=[0] * 16) == reports


def test_a_token_at_a_time_gives_what_all_at_once_gives():
    torch.manual_seed(0)
    network = VisionEncoderDecoderNetwork(SMALL, 9).eval()
    images, ids = torch.randn(3, 3, 32, 32), torch.randint(1, 8, (3, 6))
    with torch.no_grad():
        source = network.model.encoder(pixel_values=images).last_hidden_state
        expected = network.model.decoder(input_ids=ids, encoder_hidden_states=source).logits
        expected[..., -1] = float("-inf")
        writing = Writing(network.model, images)
        for place in range(6):
            assert torch.allclose(writing.step(ids[:, place]), expected[:, place].log_softmax(-1), atol=1e-4)
            if place == 2:
                order = torch.tensor([1, 1, 0])
                writing.select(order)
                ids, expected = ids[order], expected[order]


def test_the_loss_is_that_of_transformers():
    torch.manual_seed(0)
    network = VisionEncoderDecoderNetwork(SMALL, 9).eval()
    images, targets = torch.randn(2, 3, 32, 32), torch.tensor([[3, 4, 0, 0], [5, 6, 7, 0]])
    labels = torch.tensor([[3, 4, 0, -100], [5, 6, 7, 0]])
    with torch.no_grad():
        total, count = network.loss(images, targets)
        read = torch.tensor([[0, 3, 4, 0], [0, 5, 6, 7]])
        theirs = network.model(pixel_values=images, decoder_input_ids=read).logits
        expected = torch.nn.functional.cross_entropy(theirs.flatten(0, 1), labels.flatten())
    assert count == 7
    assert float(total / count) == pytest.approx(float(expected), rel=1e-5)
