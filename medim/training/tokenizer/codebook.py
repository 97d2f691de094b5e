"""The codebook while it is learned: k-means start, moving averages, and new places for dead codes."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from medim.tokenizers.image import nearest


def spread_seeds(points: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """k-means++ seeding (Arthur & Vassilvitskii 2007), points (N, d) -> (k, d): drawn in proportion to squared distances.
    Rare patches far from all others (a nodule, a lead) so get a code of their own from the start."""
    chosen = torch.randint(len(points), (1,), generator=generator)
    distance = (points - points[chosen]).square().sum(1)
    for _ in range(k - 1):
        weights = distance if float(distance.sum()) > 0 else torch.ones_like(distance)
        index = torch.multinomial(weights, 1, generator=generator)
        chosen = torch.cat([chosen, index])
        distance = torch.minimum(distance, (points - points[index]).square().sum(1))
    return points[chosen].clone()


def k_means(points: Tensor, k: int, generator: torch.Generator, iterations: int = 10) -> Tensor:
    """Lloyd's algorithm from k-means++ seeds: points (N, d) -> centres (k, d). An empty cluster keeps its centre."""
    centres = spread_seeds(points, k, generator)
    for _ in range(iterations):
        codes = nearest(points, centres)
        counts = torch.bincount(codes, minlength=k)
        sums = torch.zeros_like(centres).index_add_(0, codes, points)
        centres = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], centres)
    return centres


class CodebookLearner:
    """Keeps codebook vectors e_i at the moving average of the latents that they stand for (van den Oord et al. 2017, A.1):

        N_i <- g N_i + (1 - g) n_i        m_i <- g m_i + (1 - g) sum_j z_ij        e_i = m_i / N_i

    and counts over a window of steps how often each code is used.

    Args:
        codebook: (K, d), changed in place.
        decay: g.
        dead_below: a code used less often than this share of 1/K in a window is dead.
    """

    def __init__(self, codebook: Tensor, decay: float = 0.99, dead_below: float = 0.01) -> None:
        self.codebook = codebook
        self.decay, self.dead_below = decay, dead_below
        self.counts = codebook.new_ones(len(codebook))
        self.sums = codebook.detach().clone()
        self.window = torch.zeros(len(codebook), device=codebook.device)

    @torch.no_grad()
    def start(self, latents: Tensor, generator: torch.Generator) -> None:
        """Places the codes by k-means on latents (N, d), which lie where the generator does: the codebook may lie elsewhere."""
        centres = k_means(latents, len(self.codebook), generator)
        counts = torch.bincount(nearest(latents, centres), minlength=len(centres))
        self.codebook.copy_(centres)
        self.counts = (counts / counts.sum() * len(centres)).to(self.codebook.device)
        self.sums = self.codebook * self.counts[:, None]
        self.window.zero_()

    def quantise(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Straight-through quantisation of latents (B, d, h, w), in float32. Returns quantised (B, d, h, w), whose gradient is
        that of the latents; the commitment loss mean |z - sg(e)|^2 (scalar); codes (B * h * w,)."""
        flat = latents.float().permute(0, 2, 3, 1)  # (B, h, w, d)
        codes = nearest(flat.detach().flatten(0, 2), self.codebook)
        chosen = self.codebook[codes].view_as(flat)
        commitment = F.mse_loss(flat, chosen)
        quantised = flat + (chosen - flat).detach()
        return quantised.permute(0, 3, 1, 2).contiguous(), commitment, codes

    @torch.no_grad()
    def update(self, latents: Tensor, codes: Tensor) -> None:
        """One step of the moving averages: latents (B, d, h, w), codes (B * h * w,)."""
        flat = latents.detach().float().permute(0, 2, 3, 1).flatten(0, 2)
        n = torch.bincount(codes, minlength=len(self.codebook)).float()
        scale = len(self.codebook) / len(codes)  # counts are in units of the uniform share, whatever the batch
        self.counts.lerp_(n * scale, 1 - self.decay)
        self.sums.lerp_(torch.zeros_like(self.sums).index_add_(0, codes, flat) * scale, 1 - self.decay)
        # a code that has almost no latents left stays where it is rather than divide by nothing
        held = self.counts > 1e-4
        self.codebook[held] = self.sums[held] / self.counts[held, None]
        self.window += n

    @torch.no_grad()
    def restart(self, latents: Tensor, generator: torch.Generator) -> int:
        """Moves dead codes onto badly served latents (N, d), drawn in proportion to squared error; begins a new window.
        Returns how many codes were moved."""
        dead = torch.nonzero(self.window < self.dead_below * self.window.mean()).flatten()
        if len(dead):
            error = (latents - self.codebook[nearest(latents, self.codebook)]).square().sum(1)
            drawn = torch.multinomial(error.cpu() + 1e-12, len(dead), replacement=len(dead) > len(latents), generator=generator)
            self.codebook[dead] = latents[drawn.to(latents.device)]
            # at the weight of a tenth of a uniform share: enough to stay until it has latents of its own
            self.counts[dead] = 0.1
            self.sums[dead] = 0.1 * self.codebook[dead]
        self.window.zero_()
        return len(dead)

    def state_dict(self) -> dict[str, Tensor]:
        return {"counts": self.counts, "sums": self.sums, "window": self.window}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.counts, self.sums, self.window = (
            state[k].to(self.codebook.device, copy=True) for k in ("counts", "sums", "window")
        )


def usage_of(counts: Tensor) -> tuple[float, float]:
    """Share of codes used and perplexity of counts (K,); (0, 1) where nothing was counted."""
    total = float(counts.sum())
    if total == 0:
        return 0.0, 1.0
    p = counts[counts > 0].double() / total
    return float((counts > 0).double().mean()), math.exp(float(-(p * p.log()).sum()))


@torch.no_grad()
def standardise(model: torch.nn.Module) -> None:
    """Gives the codebook mean zero and root mean square one without changing a single token or pixel.
    The latent space of an autoencoder has no scale of its own. z' = (z - mu) / s is put into the 1x1 convolutions on either
    side of the codebook: W_in' = W_in / s, b_in' = (b_in - mu) / s; W_out' = s W_out, b_out' = b_out + W_out mu."""
    codes = model.quantize.embedding.weight
    mean = codes.mean(0)
    scale = (codes - mean).square().mean().sqrt().clamp(min=1e-8)
    codes.copy_((codes - mean) / scale)
    before, after = model.quant_conv, model.post_quant_conv
    before.weight.div_(scale)
    before.bias.sub_(mean).div_(scale)
    after.bias.add_(after.weight[:, :, 0, 0] @ mean)
    after.weight.mul_(scale)
