"""Ancestral samples of every process follow an enumerable law that an exact denoiser knows."""

import itertools
from types import SimpleNamespace

import pytest
import torch

from medim.canvas import Canvas, Layout
from medim.diffusion.transition import transition
from medim.sampling.ancestral import ancestral
from medim.sampling.settings import ModalitySettings, SamplerSettings
from medim.vocabulary import Vocabulary

LAYOUT = Layout(Vocabulary(text=3, codes=2), image_length=1, report_length=2)
STATES = torch.tensor(list(itertools.product(range(2), range(3), range(3))))  # code, word, word
LAW = torch.tensor([0.02, 0.10, 0.01, 0.15, 0.01, 0.05, 0.03, 0.02, 0.11, 0.01, 0.09, 0.02, 0.10, 0.03, 0.01, 0.02, 0.12, 0.10])
STEPS = 150


class Exact:
    """p(x^i | z^j, j != i) by enumeration."""

    device = "cpu"

    def __init__(self, process: str) -> None:
        self.config = SimpleNamespace(layout=LAYOUT, transition=process, objective="diffusion")
        self.processes = {m: transition(process, LAYOUT.size(m)) for m in ("image", "report")}

    def hidden(self, tokens, t) -> torch.Tensor:
        places = [("image", LAYOUT.image.start), ("report", LAYOUT.report.start), ("report", LAYOUT.report.start + 1)]
        chance = []
        for column, (modality, place) in enumerate(places):
            size = LAYOUT.size(modality)
            alpha = (1 - t[0, int(modality == "report")]).double().expand(size)
            table = self.processes[modality].marginal(torch.eye(size, dtype=torch.float64), alpha)  # (V, V + 1)
            z = LAYOUT.states(tokens[:, place], modality)
            chance.append(table[STATES[:, column]][:, z].T)  # (B, S)
        table = torch.zeros(len(tokens), LAYOUT.length, 3)
        for column, (modality, place) in enumerate(places):
            others = [chance[k] for k in range(3) if k != column]
            joint = LAW.double() * others[0] * others[1]
            joint = joint / joint.sum(1, keepdim=True)
            onehot = torch.nn.functional.one_hot(STATES[:, column], LAYOUT.size(modality)).double()
            table[:, place, : LAYOUT.size(modality)] = (joint @ onehot).clamp_min(1e-30).log().float()
        return table

    def logits(self, hidden, modality) -> torch.Tensor:
        return hidden[..., : LAYOUT.size(modality)]


@pytest.mark.parametrize("process", ["absorbing", "uniform", "hybrid"])
@pytest.mark.parametrize("given", [False, True])
def test_samples_follow_the_law(process, given):
    count = 3000
    canvas = Canvas.blank(LAYOUT, count)
    if given:
        canvas = canvas.give_image(torch.ones(count, 1, dtype=torch.long))
    settings = SamplerSettings(image=ModalitySettings(steps=STEPS), report=ModalitySettings(steps=STEPS))
    filled, passes = ancestral(Exact(process), canvas, settings, range(count))
    assert len(passes) == STEPS
    found = torch.cat([filled.image_codes(), filled.report_tokens()], dim=1)
    index = found[:, 0] * 9 + found[:, 1] * 3 + found[:, 2]
    expected = LAW.double().clone()
    if given:
        expected[:9] = 0
    expected = expected / expected.sum()
    counts = torch.bincount(index, minlength=18).double()
    kept = expected > 0
    assert counts[~kept].sum() == 0
    chi = ((counts - count * expected)[kept] ** 2 / (count * expected[kept])).sum()
    freedom = int(kept.sum()) - 1
    assert chi < freedom + 4.5 * (2 * freedom) ** 0.5


def test_a_sample_does_not_depend_on_its_batch():
    settings = SamplerSettings(image=ModalitySettings(steps=8), report=ModalitySettings(steps=8))
    together, _ = ancestral(Exact("uniform"), Canvas.blank(LAYOUT, 5), settings, range(5))
    alone, _ = ancestral(Exact("uniform"), Canvas.blank(LAYOUT, 1), settings, [3])
    assert torch.equal(together.tokens[3:4], alone.tokens)
