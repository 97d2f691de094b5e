from dataclasses import replace

import pytest
import torch

from tasks.downstream.vision_encoder_decoder import PRESETS, VisionEncoderDecoder, VisionEncoderDecoderNetwork

RECIPE = replace(PRESETS["ved-tiny"].recipe, batch_size=16, learning_rate=1e-2, visual_learning_rate=1e-2)
SIZES = {"side": 32, "width": 16, "heads": 2, "layers": 1, "decoder_layers": 1, "threshold": 1, "longest": 24}
SMALL = replace(PRESETS["ved-tiny"], **SIZES, recipe=RECIPE)


def test_it_learns_and_is_opened_again(examples, tmp_path):
    model = VisionEncoderDecoder("small", SMALL, None, "cpu")
    pairs = examples(16)
    fitted = model.fit(pairs, pairs, steps=150, seed=0, out=tmp_path, evaluate_every=50)
    images = [pair.image for pair in pairs]
    reports = fitted.generate_reports(images, seeds=[0] * 16)
    assert sum(report == pair.report.lower() for report, pair in zip(reports, pairs, strict=True)) >= 12
    assert model.open(tmp_path).generate_reports(images, seeds=[0] * 16) == reports


def test_one_beam_writes_the_most_likely_token_each_time_and_never_unk():
    torch.manual_seed(0)
    network = VisionEncoderDecoderNetwork(replace(SMALL, beams=1, longest=6), 9).eval()
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        for parameter in network.model.decoder.transformer.h.parameters():
            parameter.mul_(20)
        written = network.write(images)
        expected = [[] for _ in images]
        for row, image in zip(expected, images[:, None], strict=True):
            while len(row) < 6:
                logits = network.model(pixel_values=image, decoder_input_ids=torch.tensor([[0, *row]])).logits[0, -1]
                if (token := int(logits[:-1].argmax())) == 0:
                    break
                row.append(token)
    assert written == expected
    assert any(written)


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
