r"""How much of a sequence is noise at time t.

A schedule is \alpha(t), the probability that a token is still itself, with \alpha(0) = 1 and \alpha(1) = 0. The
continuous-time bound weights its terms by -\alpha'(t) / (1 - \alpha(t)) (Sahoo et al. 2024, arXiv 2406.07524, eq. 10); over a
finite step from t to s < t the weight is (\alpha(s) - \alpha(t)) / (1 - \alpha(t)), MeDiM's eq. 6.
The network is fed the noise level 1 - \alpha(t) and not t, so that it can be sampled with another schedule.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

SMALLEST_T = 1e-3  # training times lie in [SMALLEST_T, 1]; below it hardly a sequence has a noised token


class Schedule(ABC):
    r"""\alpha(t) and what follows from it; every method takes t in [0, 1] of any shape."""

    @abstractmethod
    def alpha(self, t: torch.Tensor) -> torch.Tensor:
        """Probability that a token is still itself."""

    @abstractmethod
    def slope(self, t: torch.Tensor) -> torch.Tensor:
        """alpha'(t), negative."""

    def noise(self, t: torch.Tensor) -> torch.Tensor:
        """1 - alpha(t): the noise level."""
        return 1 - self.alpha(t)

    def weight(self, t: torch.Tensor) -> torch.Tensor:
        """-alpha'(t) / (1 - alpha(t)); zero at t = 0, where nothing is noise."""
        inside = t.clamp_min(SMALLEST_T)
        return torch.where(t > 0, -self.slope(inside) / (1 - self.alpha(inside)), torch.zeros_like(t))

    def min_snr_weight(self, t: torch.Tensor, gamma: float) -> torch.Tensor:
        r"""-\alpha' / (1 - \alpha + \alpha / \gamma): the weight, softly bounded where almost nothing is noise.
        With the signal-to-noise ratio \alpha / (1 - \alpha) it is w(t) / (1 + SNR / \gamma) (Hang et al. 2023, arXiv
        2303.09556, in the soft form of UniDisc, arXiv 2503.20853). For training only: the result is no bound."""
        inside = t.clamp_min(SMALLEST_T)
        alpha = self.alpha(inside)
        return torch.where(t > 0, -self.slope(inside) / (1 - alpha + alpha / gamma), torch.zeros_like(t))


class Cosine(Schedule):
    r"""\alpha(t) = cos(\pi t / 2): little noise for most of the time."""

    def alpha(self, t: torch.Tensor) -> torch.Tensor:
        return torch.cos(math.pi / 2 * t)

    def slope(self, t: torch.Tensor) -> torch.Tensor:
        return -math.pi / 2 * torch.sin(math.pi / 2 * t)

    def weight(self, t: torch.Tensor) -> torch.Tensor:
        # sin(x) / (1 - cos(x)) = 1 / tan(x / 2), which loses no digits for small t.
        inside = t.clamp_min(SMALLEST_T)
        return torch.where(t > 0, math.pi / 2 / torch.tan(math.pi / 4 * inside), torch.zeros_like(t))


@dataclass(frozen=True)
class Polynomial(Schedule):
    r"""\alpha(t) = 1 - t^p, hence weight p / t."""

    power: float = 2.0

    def alpha(self, t: torch.Tensor) -> torch.Tensor:
        return 1 - t**self.power

    def slope(self, t: torch.Tensor) -> torch.Tensor:
        return -self.power * t ** (self.power - 1)

    def weight(self, t: torch.Tensor) -> torch.Tensor:
        return torch.where(t > 0, self.power / t.clamp_min(SMALLEST_T), torch.zeros_like(t))


class LogLinear(Polynomial):
    r"""\alpha(t) = 1 - t, hence weight 1 / t. (\sigma(t) = -log \alpha(t) is the log-linear noise of MDLM.)"""

    def __init__(self) -> None:
        super().__init__(power=1.0)

    def noise(self, t: torch.Tensor) -> torch.Tensor:
        return t


SCHEDULES = {"log-linear": LogLinear, "cosine": Cosine, "polynomial": Polynomial}


def schedule_named(name: str) -> Schedule:
    """The schedule of a recipe's `schedule` field; `polynomial` has power 2."""
    return SCHEDULES[name]()
