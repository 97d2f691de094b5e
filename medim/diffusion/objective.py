r"""The loss: one Monte-Carlo term of the negative evidence lower bound (NELBO) of discrete diffusion.

    -log p(x) <= E_t E_{x_t} [ w(t) \sum_i D_i ],  w(t) = -\alpha'(t) / (1 - \alpha(t))

with D_i of `medim.diffusion.transition.Transition.divergence`; for the absorbing process it is -log p_\theta(x^i | x_t, t)
where x_t^i is MASK (MDLM, arXiv 2406.07524, eq. 10), and w(t) = 1 / t under the log-linear schedule. With one t shared by both
modalities the sum over both bounds the joint -log p(image, report); with the image given (t_image = 0) it bounds
-log p(report | image).

Training, the validation bound and the likelihood of a pair all come from `nelbo`, by way of `MeDiMModel.forward`.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch.utils.checkpoint import checkpoint

from medim.canvas import MODALITIES, Layout, Modality
from medim.diffusion.transition import Transition, transition

LOGITS_AT_ONCE = 1 << 24  # elements of the logits held at a time; more are computed in pieces, and again in the backward pass

Head = Callable[[torch.Tensor, Modality], torch.Tensor]
"""Hidden states (n, width) of one modality -> logits (n, V) over its ids."""


def nelbo(
    head: Head,
    hidden: torch.Tensor,
    clean: torch.Tensor,
    noisy: torch.Tensor,
    noised: torch.Tensor,
    alpha: torch.Tensor,
    weight: torch.Tensor,
    layout: Layout,
    process: str = "absorbing",
) -> torch.Tensor:
    r"""w(t) \sum_i D_i of each sample and modality, in nats; shape (B, 2).
    `hidden`: what the logits of each position are computed from, shape (B, L, width).
    `clean`: x, ids of shape (B, L).
    `noisy`: x_t, shape (B, L).
    `noised`: True at the positions i of the sum, shape (B, L); structure positions are ignored.
    `alpha`: \alpha(t) of each modality, shape (B, 2).
    `weight`: w(t) of each modality, shape (B, 2).
    `process`: a name of `medim.diffusion.transition.TRANSITIONS`."""
    sums = []
    for column, modality in enumerate(MODALITIES):
        where = layout.of(modality)
        chosen = noised[:, where]  # (B, N)
        rows = chosen.nonzero()[:, 0]
        x, z = (layout.states(ids[:, where][chosen], modality) for ids in (clean, noisy))
        piece = partial(_divergence, head, modality, transition(process, layout.size(modality)))
        tensors = (hidden[:, where][chosen], x, z, alpha[rows, column])
        at_once = max(1, LOGITS_AT_ONCE // layout.size(modality))
        if len(x) <= at_once:
            terms = piece(*tensors)
        else:
            pieces = zip(*(tensor.split(at_once) for tensor in tensors), strict=True)
            terms = torch.cat([checkpoint(piece, *arguments, use_reentrant=False) for arguments in pieces])
        sums.append(torch.zeros(len(clean), device=clean.device).index_add(0, rows, terms))
    return weight * torch.stack(sums, dim=1)


def _divergence(
    head: Head,
    modality: Modality,
    process: Transition,
    hidden: torch.Tensor,
    x: torch.Tensor,
    z: torch.Tensor,
    alpha: torch.Tensor,
) -> torch.Tensor:
    """D_i of n positions, shape (n,)."""
    return process.divergence(head(hidden, modality), x, z, alpha)
