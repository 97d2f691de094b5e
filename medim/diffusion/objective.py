r"""The negative evidence lower bound (NELBO) of absorbing-state diffusion.

    -log p(x) <= E_t E_{x_t} [ w(t) \sum_{i : x_t^i = MASK} -log p_\theta(x^i | x_t, t) ],  w(t) = -\alpha'(t) / (1 - \alpha(t))

(MDLM, arXiv 2406.07524, eq. 10). With one t shared by both modalities the sum over both is a bound on the joint
-log p(image, report); with the image given (t_image = 0) it bounds -log p(report | image).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from medim.canvas import MODALITIES, Layout
from medim.denoiser import DenoiserOutput
from medim.diffusion.schedule import LogLinear


@dataclass
class Bound:
    """One Monte-Carlo term of the bound for each sample and modality (image, report).

    Attributes:
        cross_entropy: nats summed over the masked positions, shape (B, 2).
        weight: w(t), shape (B, 2).
    """

    cross_entropy: torch.Tensor
    weight: torch.Tensor

    @property
    def nats(self) -> torch.Tensor:
        """The term itself, in nats per sequence; shape (B, 2)."""
        return self.weight * self.cross_entropy


def nelbo(output: DenoiserOutput, clean: torch.Tensor, noisy: torch.Tensor, t: torch.Tensor, layout: Layout) -> Bound:
    """
    Args:
        output: logits at the masked positions of `noisy`, as `MeDiMModel` returns them for `select = noisy is MASK`.
        clean: x, shape (B, L).
        noisy: x_t, shape (B, L).
        t: time of each modality, shape (B, 2).
        layout: where each modality stands.
    """
    vocabulary = layout.vocabulary
    sums = []
    for modality in MODALITIES:
        masked = noisy[:, layout.of(modality)] == vocabulary.mask  # (B, N)
        target = clean[:, layout.of(modality)][masked]  # (n,)
        if modality == "image":
            target = target - vocabulary.image_offset
        loss = F.cross_entropy(output.of(modality).float(), target, reduction="none")
        rows = masked.nonzero()[:, 0]
        sums.append(torch.zeros(len(clean), device=clean.device).index_add(0, rows, loss))
    return Bound(torch.stack(sums, dim=1), LogLinear().weight(t))
