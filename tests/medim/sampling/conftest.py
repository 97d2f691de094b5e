"""A law over 144 canvases, small enough to be enumerated, and a denoiser that knows it exactly."""

import itertools
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from medim.canvas import Canvas, Layout
from medim.vocabulary import Vocabulary

LAYOUT = Layout(Vocabulary(text=3, codes=2), image_length=4, report_length=2)
STATES = torch.tensor(list(itertools.product(*[range(2)] * 4, *[range(3)] * 2)))
SEQUENCES = LAYOUT.join(STATES[:, :4], STATES[:, 4:])
WEIGHTS = torch.rand(len(STATES), generator=torch.Generator().manual_seed(5), dtype=torch.float64) ** 3
LAW = WEIGHTS / WEIGHTS.sum()

Choice = Callable[[dict[int, float]], dict[frozenset[int], float]]


class Toy:
    """p(x^i | visible tokens) by enumeration, as a denoiser.

    Attributes:
        law: probability of each row of `sequences`, (144,).
        times: what it was told of time, one tensor (R, 2) a pass.
        seen: the ids it was shown, one tensor (R, L) a pass.
    """

    layout, states, sequences, law = LAYOUT, STATES, SEQUENCES, LAW

    def __init__(self) -> None:
        self.config = SimpleNamespace(layout=LAYOUT, objective="diffusion", transition="absorbing", time_input="fractions")
        self.times: list[torch.Tensor] = []
        self.seen: list[torch.Tensor] = []

    def hidden(self, tokens: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        self.times.append(t)
        self.seen.append(tokens)
        agrees = torch.ones(len(tokens), len(SEQUENCES), dtype=torch.bool)
        for place in (*range(1, 5), *range(6, 8)):
            agrees &= (tokens[:, place, None] == SEQUENCES[:, place]) | (tokens[:, place, None] == LAYOUT.vocabulary.mask)
        posterior = agrees * LAW.float()
        onehot = torch.zeros(len(SEQUENCES), LAYOUT.length, 3)
        for modality in ("image", "report"):
            where = LAYOUT.of(modality)
            onehot[:, where] = torch.nn.functional.one_hot(LAYOUT.states(SEQUENCES[:, where], modality), 3).float()
        joint = posterior @ onehot.flatten(1)
        return (joint / posterior.sum(1, keepdim=True)).log().clamp(min=-80).view(len(tokens), LAYOUT.length, 3)

    def logits(self, hidden: torch.Tensor, modality: str) -> torch.Tensor:
        return hidden[..., : LAYOUT.size(modality)]

    def blank(self, count: int, report: list[int] | None = None) -> Canvas:
        """`count` blank canvases, with one report given where there is one."""
        canvas = Canvas.blank(LAYOUT, count)
        return canvas if report is None else canvas.give_report(torch.tensor([report] * count))

    def given(self, report: list[int]) -> torch.Tensor:
        """The law given a report, (144,)."""
        law = LAW * (STATES[:, 4:] == torch.tensor(report)).all(1)
        return law / law.sum()

    def law_of(self, report: list[int], choose: Choice) -> torch.Tensor:
        """The law (144,) of images drawn by revealing, round after round, the places that `choose` picks.

        In every round a code is drawn at each masked place; `choose` tells from the probability of each place's draw with
        which probability which set of places is kept.
        """
        conditional = self.given(report)
        result = torch.zeros(len(STATES), dtype=torch.float64)
        weights: dict[tuple[int | None, ...], float] = {(None,) * 4: 1.0}
        while weights:
            following: dict[tuple[int | None, ...], float] = {}
            for known, weight in weights.items():
                if None not in known:
                    hit = (torch.tensor([*known, *report]) == STATES).all(1)
                    result[hit] += weight
                    continue
                fits = torch.ones(len(STATES), dtype=torch.bool)
                for place, code in enumerate(known):
                    fits &= True if code is None else STATES[:, place] == code
                law = conditional * fits
                law = law / law.sum()
                masked = [place for place, code in enumerate(known) if code is None]
                one = {place: float((law * STATES[:, place]).sum()) for place in masked}
                for codes in itertools.product(range(2), repeat=len(masked)):
                    drawn = {p: one[p] if code else 1 - one[p] for p, code in zip(masked, codes, strict=True)}
                    chance = torch.tensor(list(drawn.values())).prod().item()
                    if chance < 1e-12:
                        continue
                    for kept, share in choose(drawn).items():
                        filled = list(known)
                        for place, code in zip(masked, codes, strict=True):
                            if place in kept:
                                filled[place] = code
                        key = tuple(filled)
                        following[key] = following.get(key, 0.0) + weight * chance * share
            weights = following
        return result

    def excess(self, tokens: torch.Tensor, law: torch.Tensor) -> float:
        """How far samples (n, L) are from a law (144,): chi-square's distance from its mean, in standard deviations.

        Cells that are expected less than five times are counted as one.
        """
        index = (tokens[:, None] == SEQUENCES).all(-1).int().argmax(1)
        counts = torch.bincount(index, minlength=len(SEQUENCES)).double()
        expected = law.double() / law.sum() * len(tokens)
        assert counts[expected < 1e-6].sum() == 0, "impossible samples"
        rare = expected < 5
        counts = torch.cat([counts[~rare], counts[rare].sum()[None]])
        expected = torch.cat([expected[~rare], expected[rare].sum()[None]])
        used = expected > 0
        freedom = int(used.sum()) - 1
        statistic = float(((counts - expected) ** 2 / expected.clamp(min=1e-12))[used].sum())
        return (statistic - freedom) / (2 * freedom) ** 0.5


@pytest.fixture
def toy() -> Toy:
    return Toy()
