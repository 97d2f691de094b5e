"""The validation bound on a model that knows the law exactly: unbiased, paired, conditional."""

from types import SimpleNamespace

import pytest
import torch

from medim.canvas import Layout
from medim.data.tokens.cache import TokenSplit
from medim.diffusion.objective import nelbo
from medim.likelihood.bound import conditional_bound, evidence, likelihood
from medim.vocabulary import Vocabulary

LAYOUT = Layout(Vocabulary(text=5, codes=4), image_length=6, report_length=3)


def head(hidden: torch.Tensor, modality: str) -> torch.Tensor:
    """Hidden states that are logits already."""
    return hidden[:, : LAYOUT.size(modality)]


class Independent:
    """Every image token costs log 4 nats, every report token log 5, whatever is visible."""

    device, training = "cpu", False

    def __init__(self, process: str = "absorbing") -> None:
        self.config = SimpleNamespace(layout=LAYOUT, transition=process, objective="diffusion", hidden_padding=None)
        self.seen: list[torch.Tensor] = []

    def eval(self) -> None: ...

    def train(self, mode: bool) -> None: ...

    def __call__(self, tokens, t, noised, clean, alpha, weight) -> torch.Tensor:
        self.seen.append(t)
        return nelbo(head, torch.zeros(*tokens.shape, 5), clean, tokens, noised, alpha, weight, LAYOUT, self.config.transition)


def split(n: int) -> TokenSplit:
    zero = torch.zeros(n, dtype=torch.long)
    return TokenSplit(torch.randint(0, 4, (n, 6)), torch.randint(0, 5, (n, 3)), zero, zero, zero)


@pytest.mark.parametrize(("condition", "image", "report"), [("joint", 6, 3), ("report|image", 0, 3), ("image|report", 6, 0)])
def test_an_independent_law_costs_its_entropy(condition, image, report):
    result = likelihood(Independent(), split(400), condition, draws=4)
    assert float(result[:, 0].mean()) == pytest.approx(image * 1.3863, rel=0.03, abs=1e-6)
    assert float(result[:, 1].mean()) == pytest.approx(report * 1.6094, rel=0.05, abs=1e-6)
    if condition != "joint":  # one modality alone: N / k times k equal terms is exact, without any variance
        assert result.std(0).max() < 1e-3


@pytest.mark.parametrize("process", ["uniform", "hybrid"])
def test_random_noise_costs_an_independent_law_its_entropy_too(process):
    """Of uniform data: nothing is learnt from the other positions, so every token costs log V."""
    result = likelihood(Independent(process), split(3000), "joint", draws=4)
    assert float(result[:, 0].mean()) == pytest.approx(6 * 1.3863, rel=0.05)
    assert float(result[:, 1].mean()) == pytest.approx(3 * 1.6094, rel=0.05)


def test_the_model_is_fed_the_masked_fraction_and_none_of_what_is_given():
    model = Independent()
    likelihood(model, split(40), "report|image", draws=3)
    times = torch.cat(model.seen)
    assert (times[:, 0] == 0).all()
    assert {round(float(x) * 3) for x in times[:, 1]} == {1, 2, 3}


def test_the_noise_is_the_same_each_time_and_whatever_the_batch():
    data = split(10)
    a, b = likelihood(Independent(), data, "joint", draws=2), likelihood(Independent(), data, "joint", draws=2, batch=3)
    assert torch.equal(a, b)
    assert not torch.equal(a, likelihood(Independent(), data, "joint", draws=2, seed=1))


class FirstCode:
    """A law in which the first report token is the first image code, and everything else is uniform."""

    device, training = "cpu", False

    def __init__(self) -> None:
        self.config = SimpleNamespace(layout=LAYOUT, transition="absorbing", objective="diffusion", hidden_padding=None)

    def eval(self) -> None: ...

    def train(self, mode: bool) -> None: ...

    def __call__(self, tokens, t, noised, clean, alpha, weight) -> torch.Tensor:
        code = tokens[:, LAYOUT.image.start]
        hidden = torch.zeros(*tokens.shape, 5)
        logits = hidden[:, LAYOUT.report]
        for row in range(len(tokens)):
            if code[row] == LAYOUT.vocabulary.mask:
                logits[row, 0, 4] = -50  # there are four codes
            else:
                logits[row, 0] = -50
                logits[row, 0, code[row] - LAYOUT.vocabulary.image_offset] = 0
        return nelbo(head, hidden, clean, tokens, noised, alpha, weight, LAYOUT)


def test_the_evidence_of_an_image_is_what_it_adds_to_a_sentence():
    clean = LAYOUT.join(torch.tensor([[2, 0, 1, 3, 0, 0]]), torch.tensor([[2, 4, 1]]))[0]
    gain, error = evidence(FirstCode(), clean, [slice(0, 1), slice(1, 3)])
    torch.testing.assert_close(gain, torch.tensor([1.3863, 0.0]), atol=1e-4, rtol=0)
    assert error.max() < 1e-4
    wrong = LAYOUT.join(torch.tensor([[2, 0, 1, 3, 0, 0]]), torch.tensor([[3, 4, 1]]))[0]
    assert evidence(FirstCode(), wrong, [slice(0, 1)])[0] < -40


def test_what_is_hidden_costs_nothing_and_is_read_as_noise():
    model = Independent()
    clean = LAYOUT.join(torch.zeros(4, 6, dtype=torch.long), torch.zeros(4, 3, dtype=torch.long))
    target, hidden = torch.zeros(4, LAYOUT.length, dtype=torch.bool), torch.zeros(4, LAYOUT.length, dtype=torch.bool)
    target[:, LAYOUT.report], hidden[:, LAYOUT.image] = True, True
    nats = conditional_bound(model, clean, target, hidden, 3, 0, range(4))
    torch.testing.assert_close(nats, torch.tensor([[0.0, 3 * 1.6094]]).repeat(4, 1), atol=1e-3, rtol=0)
    assert (torch.cat(model.seen)[:, 0] == 1).all()
