"""Losses of a VQGAN: perceptual distance, and the adversary, a patch discriminator with its balance."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PatchDiscriminator(nn.Module):
    """Judges overlapping patches (Isola et al. 2017): (B, 3, H, W) in [-1, 1] -> logits (B, 1, H / 2^layers, W / 2^layers).

    Group instead of batch normalisation: real and generated batches pass separately, and small batches must work.

    Args:
        width: channels after the first layer; doubled at each further layer, at most eightfold.
        layers: strided layers; three see about 46 pixels.
    """

    def __init__(self, width: int = 32, layers: int = 3) -> None:
        super().__init__()
        body: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        channels = width
        for _ in range(layers - 1):
            wider = min(channels * 2, width * 8)
            body += [nn.Conv2d(channels, wider, 4, stride=2, padding=1, bias=False), nn.GroupNorm(8, wider), nn.LeakyReLU(0.2)]
            channels = wider
        body.append(nn.Conv2d(channels, 1, 3, padding=1))
        self.body = nn.Sequential(*body)

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images)


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss 1/2 (E[max(0, 1 - D(x))] + E[max(0, 1 + D(x'))]) of logits of any shape."""
    return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())


def generator_loss(fake: Tensor) -> Tensor:
    """-E[D(x')]."""
    return -fake.mean()


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last_layer: Tensor, largest: float = 1e4) -> Tensor:
    """lambda = |d L_rec / d G_L| / (|d L_GAN / d G_L| + 1e-6), Esser et al. 2021, equation 7.

    Args:
        reconstruction, adversarial: scalar losses with a graph, which is kept.
        last_layer: the weight G_L of the decoder's last layer.
        largest: upper bound.

    Returns:
        A detached scalar.
    """
    (of_reconstruction,) = torch.autograd.grad(reconstruction, last_layer, retain_graph=True)
    (of_adversarial,) = torch.autograd.grad(adversarial, last_layer, retain_graph=True)
    return (of_reconstruction.norm() / (of_adversarial.norm() + 1e-6)).clamp(0, largest).detach()


def perceptual_distance(output: list[Tensor], target: list[Tensor]) -> Tensor:
    """Mean over stages of |f/|f| - g/|g||^2 per position (Zhang et al. 2018, unweighted); feature maps (B, C, h, w)."""
    distances = [
        (F.normalize(a.float(), dim=1) - F.normalize(b.float(), dim=1)).square().sum(1).mean()
        for a, b in zip(output, target, strict=True)
    ]
    return torch.stack(distances).mean()


def psnr(images: Tensor, output: Tensor) -> Tensor:
    """Peak signal-to-noise ratio per image in dB, of (B, 3, H, W) in [-1, 1] (peak to peak 2)."""
    return 10 * torch.log10(4 / (images - output.clamp(-1, 1)).square().mean((1, 2, 3)).clamp(min=1e-10))
