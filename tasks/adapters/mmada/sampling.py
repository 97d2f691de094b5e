"""How MMaDA fills masked positions: images by MaskGIT's rule (arXiv 2202.04200), text block by block by confidence."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

CodeLogits = Callable[[Tensor], Tensor]  # codes (N,), -1 where masked -> logits (N, codes), guided
TextLogits = Callable[[Tensor, slice], Tensor]  # ids of the text (L,) and a part of its positions -> logits (part, V)


def draw_codes(logits: CodeLogits, count: int, steps: int, temperature: float, generator: torch.Generator) -> Tensor:
    """The codes (count,) of an image. After step k of n as many are masked as floor(count cos(pi k / 2 n)), the least sure: log
    p(drawn) + noise t_k, with t_k the temperature times all (1 - j / n) up to k."""
    codes = drawn = torch.full((count,), -1)
    for step in range(1, steps + 1):
        law = logits(codes).float().cpu().softmax(-1)
        masked = codes < 0
        drawn = torch.where(masked, torch.multinomial(law, 1, generator=generator)[:, 0], codes)
        temperature *= 1 - step / steps
        noise = -torch.log(-torch.log(torch.rand(count, generator=generator).clamp(1e-20, 1 - 1e-7)))
        sure = law.gather(1, drawn[:, None])[:, 0].clamp_min(1e-20).log() + temperature * noise
        sure = sure.masked_fill(~masked, torch.inf)
        share = torch.cos(torch.tensor(step / steps) * math.pi * 0.5)  # in float32, as it decides how 8 is rounded
        left = max(1, min(int(masked.sum()) - 1, int((count * share).floor())))
        codes = torch.where(sure < sure.sort().values[min(left, count - 1)], -1, drawn)
    return drawn


def draw_text(
    logits: TextLogits, length: int, steps: int, block: int, mask: int, temperature: float, generator: torch.Generator
) -> Tensor:
    """Ids (length,) of a text, blocks from left to right.
    Every step of a block keeps its share of the likeliest choices; a temperature adds Gumbel noise to the logits.
    `length`: a multiple of `block`; `steps`: of all blocks together, a multiple of their number."""
    ids = torch.full((length,), mask)
    each = steps // (length // block)
    for start in range(0, length, block):
        part = slice(start, start + block)
        for step in range(each):
            count = block // each + (step < block % each)
            law = logits(ids, part).double().cpu()
            noisy = law
            if temperature:
                uniform = torch.rand(law.shape, generator=generator, dtype=torch.float64).clamp_min(1e-300)
                noisy = law - temperature * torch.log(-torch.log(uniform))
            chosen = noisy.argmax(-1)
            sure = law.log_softmax(-1).gather(1, chosen[:, None])[:, 0].masked_fill(ids[part] != mask, -torch.inf)
            kept = sure.topk(count).indices
            ids[start + kept] = chosen[kept]
    return ids
