"""How near an image and a text are in the space of a model that joins both, such as CLIP (Hessel et al. 2021: CLIPScore).
The cosine of the two embeddings as it is, neither scaled nor cut off: what it means is seen beside real and shuffled pairs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from medim.common.errors import UserError, foreign
from medim.common.files import hash_of
from medim.imaging.images import to_tensor
from medim.perception.hub import TransformersFeatures
from medim.perception.openclip import CONFIG, OpenClipFolder
from medim.perception.preprocess import weights_hash

_BATCH = 32


class Aligner:
    """A model of transformers' layout with image and text embeddings (CLIP, PLIP, SigLIP), or of BiomedCLIP's.
    Raises UserError: the folder is neither, or what it holds has no text embeddings."""

    def __init__(self, folder: str | Path, device: str = "cpu") -> None:
        from transformers import AutoTokenizer  # lazy: start-up

        folder = Path(folder)
        self._space: OpenClipFolder | TransformersFeatures
        if (folder / CONFIG).is_file():
            self._space = OpenClipFolder(folder)
            self._tokenizer, self._length = self._space.tokenizer, self._space.length
            text = weights_hash(self._space.text)
        else:
            self._space = TransformersFeatures(str(folder))
            if not self._space.embeds:
                raise UserError(f"'{folder}' has no embeddings of texts: a model such as CLIP is needed")
            with foreign(f"the tokenizer of '{folder}' cannot be opened"):
                self._tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
            sizes: Any = self._space.network.config
            self._length = min(self._tokenizer.model_max_length, sizes.text_config.max_position_embeddings)
            text = ""
        self._space.to(device)
        self._device = device
        self.details: dict[str, Any] = {
            "aligner": hash_of([self._space.fingerprint, text, self._length]),
            "tokens": self._length,
        }

    @torch.no_grad()
    def cosines(self, images: Sequence[Image.Image], texts: Sequence[str]) -> np.ndarray:
        """Of each image and its text, images of one size: (N,) float64 in [-1, 1]."""
        found = [np.empty(0)]
        for start in range(0, len(images), _BATCH):
            part = slice(start, start + _BATCH)
            image = self._space.features(to_tensor(images[part]).to(self._device))
            found.append(torch.cosine_similarity(image.double(), self._embedded(texts[part]).double()).cpu().numpy())
        return np.concatenate(found)

    def _embedded(self, texts: Sequence[str]) -> torch.Tensor:
        """Embeddings (B, D) of texts, cut to the tokens that the model reads."""
        texts = [" ".join(text.split()) for text in texts]
        tokens = self._tokenizer(texts, padding=True, truncation=True, max_length=self._length, return_tensors="pt")
        given = {name: tokens[name].to(self._device) for name in ("input_ids", "attention_mask")}
        if isinstance(self._space, OpenClipFolder):
            found: torch.Tensor = self._space.text(**given)
            return found
        output = self._space.network.get_text_features(**given)  # type: ignore[operator]
        return output if isinstance(output, torch.Tensor) else output.pooler_output
