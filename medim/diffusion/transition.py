r"""Transitions of a token: forward noise, its posterior, and the divergence of a denoiser from it.

Tokens of one modality are local ids 0 .. V - 1; the state V is MASK. Noise draws a token from a fixed law \pi, so that

    q(z_t | x) = \alpha_t \delta(z_t, x) + (1 - \alpha_t) \pi(z_t),        \pi = (1 - u) \delta_{MASK} + u / V.

u = 0 is the absorbing process of MDLM (arXiv 2406.07524) and of the paper, u = 1 the uniform one of UDLM
(arXiv 2412.10193), between them lies a hybrid (GIDD, arXiv 2503.04482), in which a wrong token can be changed again. Every
bound here is tight for x_\theta = p(x^i | z^j, j != i); the posterior brings in the token's noisy state (of MASK, nothing: for
u = 0 this is p(x^i | z)).
"""

from dataclasses import dataclass
from typing import Literal

import torch

Process = Literal["absorbing", "uniform", "hybrid"]
NOTHING = 1e-12  # an \alpha that stands for 0: the cosine schedule ends at 6e-17
TRANSITIONS: dict[str, float] = {"absorbing": 0.0, "uniform": 1.0, "hybrid": 0.1}
"""Share of random tokens among the noise of each process."""


@dataclass(frozen=True)
class Transition:
    """The process with a share `uniform` of random tokens among the noise."""

    size: int  # V, the number of ids of the modality
    uniform: float = 0.0  # u in [0, 1]

    @property
    def mask(self) -> int:
        return self.size

    def prior(self) -> torch.Tensor:
        r"""\pi, the law of a token at t = 1; float64, shape (V + 1,)."""
        pi = torch.full((self.size + 1,), self.uniform / self.size, dtype=torch.float64)
        pi[self.mask] = 1 - self.uniform
        return pi

    def marginal(self, x: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        """q(z_t | x) for a law x over the ids (..., V) and alpha (...): shape (..., V + 1)."""
        padded = torch.nn.functional.pad(x, (0, 1))
        return alpha[..., None] * padded + (1 - alpha[..., None]) * self.prior().to(x)

    def corrupt(self, x: torch.Tensor, alpha: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
        """z_t of ids x, by one uniform number each: below 1 - alpha it is noise, and its place in that range decides which.
        `x`: ids, any shape. `alpha`: of that shape, or one that broadcasts to it. `uniform`: of the shape of x."""
        noise = uniform < 1 - alpha
        if self.uniform == 0:
            return torch.where(noise, self.mask, x)
        place = uniform / (1 - alpha).clamp_min(torch.finfo(uniform.dtype).tiny) / self.uniform  # [0, 1) where a random token
        token = (place * self.size).long().clamp(max=self.size - 1)
        return torch.where(noise, torch.where(place < 1, token, self.mask), x)

    def posterior(self, z: torch.Tensor, x: torch.Tensor, alpha_t: torch.Tensor, alpha_s: torch.Tensor) -> torch.Tensor:
        r"""q(z_s | z_t, x) for s < t.

            q(z_s | z_t, x) = q(z_t | z_s) q(z_s | x) / q(z_t | x),
            q(z_t | z_s) = a \delta(z_t, z_s) + (1 - a) \pi(z_t),   a = \alpha_t / \alpha_s.

        Args:
            z: states (n,) in 0 .. V.
            x: law of the clean token (n, V).
            alpha_t, alpha_s: shape (n,).

        Returns:
            Laws of shape (n, V + 1).
        """
        a = (alpha_t / alpha_s)[:, None]
        forward = (1 - a) * self.prior().to(x)[z][:, None]
        forward = forward + a * torch.nn.functional.one_hot(z, self.size + 1).to(x)
        joint = forward * self.marginal(x, alpha_s)
        return joint / joint.sum(-1, keepdim=True)

    def divergence(self, logits: torch.Tensor, x: torch.Tensor, z: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        r"""D of one position: its term of the bound before the schedule's weight, in nats; shape (n,).

        The continuous-time bound on -log p(x) is \int w(t) E_z \sum_i D_i dt, w = -\alpha' / (1 - \alpha), with

            D = (1 - \alpha) / \alpha * \pi(z) / q(z | x) * ( KL(q(. | x) || q(. | x_\theta)) + r - log r - 1 ),
            r = q(z | x) / q(z | x_\theta)

        (GIDD, theorem 3.2, for a law \pi that does not change with t). For u = 0 it is -log p_\theta(x) where z is MASK and
        nothing elsewhere: the cross-entropy of MDLM. For u > 0 it vanishes with \alpha.

        Args:
            logits: of the clean token, shape (n, V).
            x: clean ids (n,).
            z: noisy states (n,) in 0 .. V.
            alpha: shape (n,).
        """
        log_p = logits.float().log_softmax(-1)
        if self.uniform == 0:
            loss = -log_p.gather(-1, x[:, None])[:, 0]
            return torch.where(z == self.mask, loss, torch.zeros_like(loss))
        alpha = alpha.float()
        b = (1 - alpha) * self.uniform / self.size  # q of any other token
        theta = alpha[:, None] * log_p.exp() + b[:, None]  # q(. | x_theta), (n, V)
        log_theta = theta.clamp_min(torch.finfo(theta.dtype).tiny).log()
        at_x = log_theta.gather(-1, x[:, None])[:, 0]
        divergence = (
            torch.xlogy(b, b) * (self.size - 1)
            - b * (log_theta.sum(-1) - at_x)
            + torch.xlogy(alpha + b, alpha + b)
            - (alpha + b) * at_x
        )
        token = z != self.mask
        index = z.clamp(max=self.size - 1)[:, None]
        q = torch.where(token, alpha * (index[:, 0] == x) + b, (1 - alpha) * (1 - self.uniform))
        r = torch.where(token, q / theta.gather(-1, index)[:, 0], torch.ones_like(q))
        pi = torch.where(token, self.uniform / self.size, 1 - self.uniform)
        found = (1 - alpha) / alpha.clamp_min(1e-6) * pi / q.clamp_min(1e-12) * (divergence + r - r.log() - 1)
        return torch.where(alpha > NOTHING, found, torch.zeros_like(found))


def transition(name: str, size: int) -> Transition:
    """The process of a configuration's `transition` field over `size` ids."""
    return Transition(size, TRANSITIONS[name])
