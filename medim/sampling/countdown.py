"""Whether a modality is finished early, asked without making the device wait."""

from collections.abc import Iterable

import torch

from medim.canvas import Canvas, Modality


class Countdown:
    """Numbers of masked positions. On a GPU they are copied while the next round runs and read a round later, so that the
    device always has work before it; a round on a finished canvas changes nothing, so the sample is the same. Not for
    trajectories in which a token is masked again."""

    def __init__(self) -> None:
        self._waiting: list[tuple[dict[Modality, torch.Tensor], torch.cuda.Event]] = []

    def finished(self, canvas: Canvas, modalities: Iterable[Modality]) -> bool:
        """Whether none of the modalities had anything masked: now, or on a GPU before the last round."""
        masked = canvas.masked
        counts: dict[Modality, torch.Tensor] = {m: masked[:, canvas.layout.of(m)].sum() for m in ("image", "report")}
        if canvas.tokens.device.type == "cuda":
            copies = {m: torch.empty((), dtype=count.dtype, pin_memory=True) for m, count in counts.items()}
            for m, count in counts.items():
                copies[m].copy_(count, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
            self._waiting.append((copies, event))
            if len(self._waiting) < 2:
                return False
            counts, event = self._waiting.pop(0)
            event.synchronize()
        return all(int(counts[m]) == 0 for m in modalities)
