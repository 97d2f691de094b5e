"""The real SmolLM2: at step 0 the denoiser is the language model, with its mask and without."""

from pathlib import Path

import pytest
import torch

from medim.backbones.causal_lm import load_pretrained
from medim.denoiser import MeDiMModel

WEIGHTS = Path(__file__).resolve().parents[2] / "weights" / "smollm2"
FIELDS = {"image_codes": 16, "image_length": 16, "report_length": 32}


@pytest.mark.slow
@pytest.mark.skipif(not WEIGHTS.exists(), reason="weights/smollm2 is missing: `make smollm2` fetches it")
def test_at_step_0_the_denoiser_is_smollm2_with_its_mask_and_without():
    source = load_pretrained(str(WEIGHTS)).eval()
    model = MeDiMModel.from_backbone(str(WEIGHTS), **FIELDS).eval()
    for attention in ("causal", "bidirectional"):
        model.backbone.set_attention(attention)
        layout = model.config.layout
        tokens = torch.randint(0, 40_000, (2, layout.length), generator=torch.Generator().manual_seed(0))
        mask = None if attention == "causal" else torch.zeros(2, 1, layout.length, layout.length)
        with torch.no_grad():
            expected = source(tokens, attention_mask=mask).logits[:, layout.report]
            actual = model.logits(model.hidden(tokens, torch.rand(2, 2))[:, layout.report], "report")
        assert (actual - expected).abs().max() < 1e-4
