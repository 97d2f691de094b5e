from dataclasses import replace

import pytest
import torch

from medim.common.errors import UserError
from tasks.downstream import FindsLabels, WritesReports, open_downstream
from tasks.downstream.classifier import ClassifierNetwork


def test_it_learns_findings_and_is_opened_again(examples, tmp_path):
    model, pairs = open_downstream("classifier"), examples(64)
    fitted = model.fit(pairs[:48], pairs[48:], steps=40, seed=0, out=tmp_path)
    images = [pair.image for pair in pairs[48:]]
    found = fitted.findings(images)
    assert sum(one == pair.findings for one, pair in zip(found, pairs[48:], strict=True)) >= 14
    assert fitted.labels == ("amber", "blue", "coral", "dune")
    assert model.open(tmp_path).findings(images) == found
    assert isinstance(fitted, FindsLabels)
    assert not isinstance(fitted, WritesReports)
    assert fitted.findings([]) == []


def test_the_loss_is_binary_cross_entropy_by_label():
    torch.manual_seed(0)
    network = ClassifierNetwork(3).eval()
    images, targets = torch.randn(2, 3, 64, 64), torch.tensor([[1.0, 0, 1], [0, 0, 1]])
    with torch.no_grad():
        total, count = network.loss(images, targets)
        p = network(images).sigmoid()
    assert count == 6
    assert float(total) == pytest.approx(float(-(targets * p.log() + (1 - targets) * (1 - p).log()).sum()), rel=1e-4)


def test_findings_must_be_known(examples, tmp_path):
    model, pairs = open_downstream("classifier"), examples(4)
    with pytest.raises(UserError, match="findings of example 'e1' are not known"):
        model.fit([pairs[0], replace(pairs[1], findings=None)], pairs, steps=1, seed=0, out=tmp_path / "a")
    with pytest.raises(UserError, match="no example has a finding"):
        model.fit(pairs[:1], pairs[:1], steps=1, seed=0, out=tmp_path / "b")
