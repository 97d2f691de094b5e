from dataclasses import replace

import pytest
import torch
from torch import nn

from tasks import task_named
from tasks.adapters.adapter import OneTask
from tasks.downstream import WritesReports, open_downstream
from tasks.downstream.r2gen import PAIRS, R2GenNetwork, Shape, Writing, word_pairs
from tasks.downstream.report_models import split
from tasks.metrics.text.ngrams import References
from tasks.metrics.text.overlap import bleu_of_sums, bleu_sums
from tasks.protocols import Generator

SMALL = Shape(width=16, layers=2, heads=4, longest=12, beams=3, dropout=0.0, visual_dropout=0.0)


class Patches(nn.Module):
    """49 patches of 2,048 features, as ResNet-101 gives, without parameters."""

    features = 2048

    def forward(self, images):
        return images.flatten(1)[:, : 49 * 8].unflatten(1, (49, 8)).repeat(1, 1, 256)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def closed_form(d: int, layers: int, slots: int, features: int, ids: int) -> int:
    """From the dimensions in the paper: square matrices with biases wherever rows are mapped to rows."""
    linear = d * d + d
    attention, feed_forward, norm = 4 * linear, 2 * linear, 2 * d
    conditioned = norm + 2 * (slots * d * d + d + linear)
    encoder = layers * (attention + feed_forward + 2 * norm) + norm
    decoder = layers * (2 * attention + feed_forward + 3 * conditioned) + norm
    memory = attention + 2 * linear + 2 * (2 * d * d + 2 * d)
    return features * d + d + encoder + decoder + memory + ids * d + ids * d + ids


@pytest.mark.parametrize("slots", [1, 2, 3, 4])
def test_parameters_of_the_papers_configuration(slots):
    """Each slot adds 18 D^2 = 4.7 million parameters: three layers, three norms, two first matrices of their perceptrons."""
    network = R2GenNetwork(replace(Shape(), slots=slots), Patches(), 761)
    assert parameters(network) == closed_form(512, 3, slots, 2048, 761)
    assert closed_form(512, 3, slots + 1, 2048, 761) - parameters(network) == 18 * 512 * 512


@pytest.fixture
def network():
    torch.manual_seed(0)
    return R2GenNetwork(SMALL, Patches(), 9).eval()


def test_a_token_at_a_time_gives_what_all_at_once_gives(network):
    images, ids = torch.randn(3, 3, 16, 16), torch.randint(1, 8, (3, 7))
    ids[:, 0] = 0
    with torch.no_grad():
        expected = network(network.encode(images), ids)
        expected[..., -1] = float("-inf")
        writing = Writing(network, images)
        for place in range(7):
            assert torch.allclose(writing.step(ids[:, place]), expected[:, place].log_softmax(-1), atol=1e-5)
            if place == 3:  # rows may be chosen, turned and doubled between
                order = torch.tensor([2, 0, 0])
                writing.select(order)
                ids, expected = ids[order], expected[order]


def test_no_position_sees_what_comes_after(network):
    source, ids = network.encode(torch.randn(2, 3, 16, 16)), torch.randint(1, 8, (2, 6))
    later = ids.clone()
    later[:, 4:] = 8 - later[:, 4:]
    with torch.no_grad():
        assert torch.allclose(network(source, ids)[:, :4], network(source, later)[:, :4], atol=1e-6)
        assert not torch.allclose(network(source, ids)[:, 4:], network(source, later)[:, 4:], atol=1e-3)


def test_the_memory_reaches_the_text(network):
    images, ids = torch.randn(2, 3, 16, 16), torch.randint(1, 8, (2, 6))
    with torch.no_grad():
        before = network(network.encode(images), ids)
        network.memory.w.bias[16:] += 3  # remember longer
        assert not torch.allclose(network(network.encode(images), ids), before, atol=1e-3)


def test_loss_is_that_of_the_targets_alone(network):
    images, targets = torch.randn(2, 3, 16, 16), torch.tensor([[3, 4, 0, 0, 0], [5, 0, 0, 0, 0]])
    with torch.no_grad():
        total, count = network.loss(images, targets)
        assert count == 5
        assert float(total) == pytest.approx(float(network.loss(images, targets[:, :3])[0]), rel=1e-6)


def test_unknown_words_are_not_written(network):
    with torch.no_grad():
        network.head.bias[-1] = 1e3
    assert all(8 not in ids for ids in network.write(torch.randn(2, 3, 16, 16)))


def test_word_pairs_are_of_neighbours_within_the_text():
    found = word_pairs(torch.tensor([[3, 4, 0, 0], [4, 3, 4, 0]]))
    one, other = (3 * 8191 + 4 * 131) % PAIRS, (4 * 8191 + 3 * 131) % PAIRS
    assert found[0].nonzero().flatten().tolist() == [one]
    assert sorted(found[1].nonzero().flatten().tolist()) == sorted([one, other])


def test_the_pairs_are_learned_in_training_and_never_counted_in_validation():
    torch.manual_seed(0)
    network = R2GenNetwork(replace(SMALL, pair_loss=0.5), Patches(), 9)
    images, targets = torch.randn(2, 3, 16, 16), torch.tensor([[3, 4, 0], [5, 0, 0]])
    with torch.no_grad():
        trained, count = network.train().loss(images, targets)
        plain, same = network.eval().loss(images, targets)
        source = network.encode(images)
        told = network.pairs(torch.cat([source.mean(1), source.amax(1)], 1)).sigmoid()
    truth = word_pairs(targets)
    missed = -(truth * told.log() + (1 - truth) * (1 - told).log()).sum() / 2
    assert count == same == 5
    assert float(trained - plain) == pytest.approx(float(0.5 * missed * 5), rel=1e-3)


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
    assert fitted.cannot(task_named("report-generation")) is None
    assert "report-generation alone" in fitted.cannot(task_named("image-generation"))
    assert fitted.generate_reports([], seeds=[]) == []


def test_the_papers_sizes():
    described = open_downstream("r2gen").describe()
    assert {key: described[key] for key in ("width", "layers", "heads", "slots", "beams", "dropout", "visual_dropout")} == {
        "width": 512,
        "layers": 3,
        "heads": 8,
        "slots": 3,
        "beams": 3,
        "dropout": 0.1,
        "visual_dropout": 0.5,
    }
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
