"""One optimiser step of a tokenizer's training after the other: losses, codebook, adversary."""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medim.perception.efficientnet import EfficientNetLite0Features
from medim.tokenizers.image import ImageTokenizer
from medim.training.tokenizer.codebook import CodebookLearner, standardise, usage_of
from medim.training.tokenizer.recipe import GEOMETRY, TokenizerRecipe
from medim.weights.loading import fill, first_broken


class PatchDiscriminator(nn.Module):
    """Judges overlapping patches (Isola et al. 2017): (B, 3, H, W) in [-1, 1] -> logits (B, 1, H / 2^layers, W / 2^layers).
    Group instead of batch normalisation: real and generated batches pass separately, and small batches must work.
    `width`: channels after the first layer; doubled at each further layer, at most eightfold.
    `layers`: strided layers; three see about 46 pixels."""

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
    """lambda = |d L_rec / d G_L| / (|d L_GAN / d G_L| + 1e-6), Esser et al. 2021, equation 7. `reconstruction`, `adversarial`:
    scalar losses with a graph, which is kept. `last_layer`: the weight G_L of the decoder's last layer. `largest`: upper bound.
    Returns a detached scalar."""
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


START_IMAGES = 512  # images whose latents place the codebook


class BreakdownError(Exception):
    """A loss or a weight is not finite."""


class TokenizerTraining:
    """Weights, optimisers and codebook of one training; randomness is a function of the seed and the step."""

    def __init__(self, recipe: TokenizerRecipe, device: str) -> None:
        self.recipe, self.device = recipe, device
        self.step, self.seconds = 0, 0.0
        geometry = recipe.model_dump(include=GEOMETRY)
        self.tokenizer = ImageTokenizer.build(**geometry, seed=recipe.seed).to(device)
        self.model = self.tokenizer.model.to(memory_format=torch.channels_last)
        self.model.quantize.embedding.weight.requires_grad_(False)  # the learner moves it
        self.learner = CodebookLearner(self.model.quantize.embedding.weight.data, recipe.codebook_decay, recipe.dead_below)
        weights = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(weights, recipe.learning_rate, (0.9, 0.99), weight_decay=recipe.weight_decay)
        self.perceptual = EfficientNetLite0Features().to(device) if recipe.perceptual_weight > 0 else None
        self.discriminator: PatchDiscriminator | None = None
        if recipe.adversarial_weight > 0:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(recipe.seed + 1)
                self.discriminator = PatchDiscriminator().to(device)
            self.adversary = torch.optim.AdamW(self.discriminator.parameters(), recipe.learning_rate, (0.5, 0.9))

    def advance(self, cache: Tensor) -> dict[str, float]:
        """One optimiser step on the step's batch of cache (N, H, W, 3) uint8; returns the batch's figures."""
        recipe = self.recipe
        if self.step == recipe.first_quantised_step:
            self._start_codebook(cache)
        images = self._images(cache[batch_indices(len(cache), recipe.batch_size, self.step, recipe.seed)])
        for group in (*self.optimizer.param_groups, *(self.adversary.param_groups if self.discriminator is not None else ())):
            group["lr"] = self._learning_rate()
        self.model.train()
        quantised = self.step >= recipe.first_quantised_step
        with self._autocast():
            latents = self.model.encode(images).latents
        codes, commitment, passed = None, images.new_zeros(()), latents.float()
        if quantised:
            passed, commitment, codes = self.learner.quantise(latents)
        with self._autocast():
            output = self.model.decode(passed, force_not_quantize=True).sample.float()
        terms = self._reconstruction(images, output)
        reconstruction = sum(terms.values())
        loss = reconstruction + recipe.commitment * commitment
        adversarial = self.discriminator is not None and quantised and self.step >= recipe.adversarial_start
        if adversarial:
            with self._autocast():
                fooled = generator_loss(self.discriminator(output).float())
            balance = adaptive_weight(reconstruction, fooled, self.model.decoder.conv_out.weight)
            loss = loss + recipe.adversarial_weight * balance * fooled
        if not math.isfinite(loss.item()):
            raise BreakdownError(f"the loss is {loss.item()} at step {self.step + 1}")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.max_grad_norm)
        self.optimizer.step()
        figures = {"loss": loss.item(), "psnr": float(psnr(images, output.detach()).mean())}
        figures |= {name: term.item() for name, term in terms.items()}
        if adversarial:
            figures["adversarial_balance"] = float(balance)
            figures["discriminator"] = self._train_discriminator(images, output.detach())
        if codes is not None:
            self.learner.update(latents, codes)
        figures["codes_used"], figures["perplexity"] = usage_of(self.learner.window)
        figures |= {"commitment": commitment.item(), "learning_rate": self._learning_rate()}
        self.step += 1
        restarts = quantised and self.step % recipe.restart_every == 0 and self.step <= recipe.restart_until * recipe.steps
        if restarts:
            flat = latents.detach().float().permute(0, 2, 3, 1).flatten(0, 2)
            figures["restarted"] = self.learner.restart(flat, self._generator())
        return figures

    def refuse_broken_weights(self) -> None:
        """Raises BreakdownError where a weight is not finite: such are never saved."""
        parts = (self.model, self.learner, *(() if self.discriminator is None else (self.discriminator,)))
        name = first_broken(item for part in parts for item in part.state_dict().items())
        if name is not None:
            raise BreakdownError(f"weight {name} is NaN or infinite at step {self.step}")

    def finish(self) -> ImageTokenizer:
        """Standardises the codebook and rounds the weights to what is stored, so that all figures hold for the stored ones."""
        standardise(self.model)
        stored = getattr(torch, self.recipe.weights)
        for parameter in self.model.parameters():
            parameter.data = parameter.data.to(stored).float().contiguous()
        return self.tokenizer

    def state(self) -> dict:
        """Everything that `load` needs, as tensors and plain values."""
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "codebook": self.learner.state_dict(),
        }
        if self.discriminator is not None:
            state |= {"discriminator": self.discriminator.state_dict(), "adversary": self.adversary.state_dict()}
        return state

    def load(self, state: dict) -> None:
        self.step, self.seconds = state["step"], state["seconds"]
        fill(self.model, state["model"], "checkpoint of the image tokenizer")
        self.optimizer.load_state_dict(state["optimizer"])
        self.learner.load_state_dict(state["codebook"])
        if self.discriminator is not None:
            self.discriminator.load_state_dict(state["discriminator"])
            self.adversary.load_state_dict(state["adversary"])

    def _start_codebook(self, cache: Tensor) -> None:
        drawn = np.random.default_rng([self.recipe.seed, self.step]).permutation(len(cache))[:START_IMAGES]
        self.model.eval()
        with torch.no_grad(), self._autocast():
            latents = [
                self.model.encode(self._images(cache[part])).latents for part in np.array_split(drawn, -(-len(drawn) // 64))
            ]
        flat = torch.cat(latents).float().permute(0, 2, 3, 1).flatten(0, 2)
        self.learner.start(flat.cpu(), self._generator())
        standardise(self.model)
        self.learner.sums = self.learner.codebook * self.learner.counts[:, None]

    def _reconstruction(self, images: Tensor, output: Tensor) -> dict[str, Tensor]:
        """Weighted terms; images and output (B, 3, H, W)."""
        recipe, difference = self.recipe, output - images
        terms = {"l1": recipe.l1_weight * difference.abs().mean()}
        if recipe.l2_weight > 0:
            terms["l2"] = recipe.l2_weight * difference.square().mean()
        if recipe.gradient_weight > 0:
            edges = difference.diff(dim=2).abs().mean() + difference.diff(dim=3).abs().mean()
            terms["gradient"] = recipe.gradient_weight * edges
        if self.perceptual is not None:
            with torch.no_grad():
                target = self.perceptual.stages(images)
            terms["perceptual"] = recipe.perceptual_weight * perceptual_distance(self.perceptual.stages(output), target)
        return terms

    def _train_discriminator(self, real: Tensor, fake: Tensor) -> float:
        with self._autocast():
            judged = self.discriminator(torch.cat([real, fake])).float().chunk(2)
        loss = discriminator_loss(*judged)
        if not math.isfinite(loss.item()):
            raise BreakdownError(f"the discriminator's loss is {loss.item()} at step {self.step + 1}")
        self.adversary.zero_grad(set_to_none=True)
        loss.backward()
        self.adversary.step()
        return loss.item()

    def _learning_rate(self) -> float:
        recipe = self.recipe
        warm = min(1.0, (self.step + 1) / max(recipe.warmup_steps, 1))
        done = max(0.0, (self.step - recipe.warmup_steps) / max(recipe.steps - recipe.warmup_steps, 1))
        return recipe.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * done))

    def _images(self, batch: Tensor) -> Tensor:
        """uint8 (B, H, W, 3) -> float32 (B, 3, H, W) in [-1, 1], channels last in memory."""
        return batch.to(self.device).permute(0, 3, 1, 2).float().div(127.5).sub(1)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.recipe.bf16)

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + self.step)


def batch_indices(n: int, batch_size: int, step: int, seed: int) -> np.ndarray:
    """Indices (batch_size,) of the batch of a 0-based step: every image once per epoch, each epoch in its own seeded order."""
    first, last = step * batch_size, (step + 1) * batch_size
    parts = []
    for epoch in range(first // n, (last - 1) // n + 1):
        order = np.random.default_rng([seed, epoch]).permutation(n)
        parts.append(order[max(first - epoch * n, 0) : last - epoch * n])
    return np.concatenate(parts)
