"""Nothing between the first and the last round waits for a GPU; on tensors without values see `test_cache`."""

from contextlib import contextmanager

import pytest
import torch

from medim.canvas import Canvas
from medim.denoiser import MeDiMConfig, MeDiMModel
from medim.sampling import decoder
from medim.sampling.cache import hidden_states
from medim.sampling.settings import SamplerSettings

BACKBONE = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 20,
    "tie_word_embeddings": True,
}
FIELDS = {"text_vocabulary": 20, "image_codes": 8, "image_length": 9, "report_length": 12}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: a CPU has nothing to wait for")
@pytest.mark.parametrize("refresh", [1, 3])
@pytest.mark.parametrize("order", ["confidence", "margin", "random", "left", "threshold"])
def test_no_round_waits_for_the_gpu(order, refresh, monkeypatch):
    torch.manual_seed(0)
    model = MeDiMModel(MeDiMConfig(backbone=BACKBONE, **FIELDS)).eval().to("cuda")
    settings = SamplerSettings().with_overrides(
        {"image.steps": 4, "report.steps": 5, "image.order": order, "image.guidance": 1.0, "cache.refresh": refresh}
    )

    @contextmanager
    def watched(*arguments):
        """What the loop runs in: planning copies to the GPU before it, and may wait."""
        with hidden_states(*arguments) as states:
            torch.cuda.set_sync_debug_mode("error")
            try:
                yield states
            finally:
                torch.cuda.set_sync_debug_mode("default")

    canvas = Canvas.blank(model.config.layout, 3, "cuda")
    decoder.decode(model, canvas, settings, range(3))  # kernels are loaded, constants copied
    monkeypatch.setattr(decoder, "hidden_states", watched)
    assert not decoder.decode(model, canvas, settings, range(3)).canvas.masked.any()
