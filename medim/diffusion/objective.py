r"""The negative evidence lower bound (NELBO) of discrete diffusion.

    -log p(x) <= E_t E_{x_t} [ w(t) \sum_i D_i ],  w(t) = -\alpha'(t) / (1 - \alpha(t))

with D_i of `medim.diffusion.transition.Transition.divergence`; for the absorbing process it is -log p_\theta(x^i | x_t, t)
where x_t^i is MASK (MDLM, arXiv 2406.07524, eq. 10). With one t shared by both modalities the sum over both is a bound on the
joint -log p(image, report); with the image given (t_image = 0) it bounds -log p(report | image).
"""

from dataclasses import dataclass

import torch

from medim.canvas import MODALITIES, Layout
from medim.denoiser import DenoiserOutput
from medim.diffusion.schedule import LogLinear, Schedule
from medim.diffusion.transition import transition


@dataclass
class Bound:
    """One Monte-Carlo term of the bound for each sample and modality (image, report).

    Attributes:
        divergence: D summed over the positions, in nats; shape (B, 2). The cross-entropy of what is masked, if noise masks.
        weight: w(t), shape (B, 2).
    """

    divergence: torch.Tensor
    weight: torch.Tensor

    @property
    def nats(self) -> torch.Tensor:
        """The term itself, in nats per sequence; shape (B, 2)."""
        return self.weight * self.divergence


def nelbo(
    output: DenoiserOutput,
    clean: torch.Tensor,
    noisy: torch.Tensor,
    t: torch.Tensor,
    layout: Layout,
    noised: torch.Tensor | None = None,
    schedule: Schedule | None = None,
    process: str = "absorbing",
) -> Bound:
    """
    Args:
        output: logits as `MeDiMModel` returns them for `select = noised`.
        clean: x, shape (B, L).
        noisy: x_t, shape (B, L).
        t: time of each modality, shape (B, 2).
        layout: where each modality stands.
        noised: True where noise may have struck, shape (B, L); None where it is plain to see, as MASK.
        schedule: log-linear where None.
        process: a name of `medim.diffusion.transition.TRANSITIONS`.
    """
    schedule = schedule or LogLinear()
    noised = noisy == layout.vocabulary.mask if noised is None else noised
    alpha = schedule.alpha(t)
    sums = []
    for column, modality in enumerate(MODALITIES):
        where = layout.of(modality)
        chosen = noised[:, where]  # (B, N)
        rows = chosen.nonzero()[:, 0]
        x, z = (layout.states(tokens[:, where][chosen], modality) for tokens in (clean, noisy))
        terms = transition(process, layout.size(modality)).divergence(output.of(modality), x, z, alpha[rows, column])
        sums.append(torch.zeros(len(clean), device=clean.device).index_add(0, rows, terms))
    return Bound(torch.stack(sums, dim=1), schedule.weight(t))
