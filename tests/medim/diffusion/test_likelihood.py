"""The validation bound on a model that knows the law exactly: unbiased, paired, conditional where asked."""

from types import SimpleNamespace

import pytest
import torch

from medim.canvas import Layout
from medim.data.token_cache import TokenSplit
from medim.denoiser import DenoiserOutput
from medim.diffusion.likelihood import likelihood
from medim.vocabulary import Vocabulary

LAYOUT = Layout(Vocabulary(text=5, codes=4), image_length=6, report_length=3)


class Independent:
    """Every image token costs log 4 nats, every report token log 5, whatever is visible."""

    device, training = "cpu", False

    def __init__(self, process: str = "absorbing") -> None:
        self.config = SimpleNamespace(layout=LAYOUT, transition=process)
        self.seen: list[torch.Tensor] = []

    def eval(self) -> None: ...

    def train(self, mode: bool) -> None: ...

    def __call__(self, tokens, t, select) -> DenoiserOutput:
        self.seen.append(t)
        counts = [int(select[:, where].sum()) for where in (LAYOUT.image, LAYOUT.report)]
        return DenoiserOutput(torch.zeros(counts[0], 4), torch.zeros(counts[1], 5))


def split(n: int) -> TokenSplit:
    zero = torch.zeros(n, dtype=torch.long)
    return TokenSplit(torch.randint(0, 4, (n, 6)), torch.randint(0, 5, (n, 3)), zero, zero, zero)


@pytest.mark.parametrize(
    ("condition", "image", "report"), [("joint", 6, 3), ("report|image", 0, 3), ("image|report", 6, 0)]
)  # fmt: skip
def test_an_independent_law_costs_its_entropy(condition, image, report):
    result = likelihood(Independent(), split(400), condition, draws=4)
    assert result.mean("image") == pytest.approx(image * 1.3863, rel=0.03, abs=1e-6)
    assert result.mean("report") == pytest.approx(report * 1.6094, rel=0.05, abs=1e-6)
    if condition != "joint":  # one modality alone: N / k times k equal terms is exact, without any variance
        assert result.standard_error("image") < 1e-4
        assert result.standard_error("report") < 1e-4


@pytest.mark.parametrize("process", ["uniform", "hybrid"])
def test_random_noise_costs_an_independent_law_its_entropy_too(process):
    """Of uniform data: nothing is learnt from the other positions, so every token costs log V."""
    result = likelihood(Independent(process), split(3000), "joint", draws=4)
    assert result.mean("image") == pytest.approx(6 * 1.3863, rel=0.05)
    assert result.mean("report") == pytest.approx(3 * 1.6094, rel=0.05)


def test_the_model_is_fed_the_masked_fraction_and_none_of_what_is_given():
    model = Independent()
    likelihood(model, split(40), "report|image", draws=3)
    times = torch.cat(model.seen)
    assert (times[:, 0] == 0).all()
    assert {round(float(x) * 3) for x in times[:, 1]} == {1, 2, 3}


def test_the_noise_is_the_same_each_time_and_whatever_the_batch():
    data = split(10)
    a, b = likelihood(Independent(), data, "joint", draws=2), likelihood(Independent(), data, "joint", draws=2, batch=3)
    assert torch.equal(a.nats, b.nats)
    assert not torch.equal(a.nats, likelihood(Independent(), data, "joint", draws=2, seed=1).nats)
