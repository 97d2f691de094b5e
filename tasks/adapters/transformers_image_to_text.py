"""Any image-to-text model of transformers as a system for report generation: captioners and vision-language chat models."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

from medim.common.errors import UserError, foreign
from medim.weights.loading import load
from tasks.adapters.adapter import OneTask, dtype_of, folder_fingerprint, read_settings

SAMPLING = {"sample": False, "temperature": 1.0, "top_p": 1.0}
DEFAULTS: dict[str, Any] = {"prompt": "", "max_new_tokens": 256, "beams": 1, "dtype": "float32", **SAMPLING}
ONE_IMAGE = {r"[Ii]mage (features and image )?tokens|number of images": "its prompt must hold one image: --set prompt=TEXT"}
TOO_LONG = r"index out of range|IndexError|position|sequence length|max_length|device-side assert|must match"
CHAT_PROMPT = "Write the report of this medical image."
_FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]


class TransformersImageToText(OneTask):
    """VisionEncoderDecoder, BLIP, LLaVA, Qwen2-VL and whatever else `AutoModelForImageTextToText` knows.

    Settings: `prompt` (for a model with a chat template it is the user's turn beside the image; for a captioner the beginning
    of the text, which is not part of the report), `max_new_tokens`, `beams`, `sample` with `temperature` and `top_p`, `dtype`.
    Without `sample` decoding is greedy or by beams and no seed matters; with it, images are described one by one, each from
    its own seed.
    """

    modality = "report"

    def __init__(self, model: Any, reader: "_Reader", name: str, fingerprint: str, settings: Mapping[str, Any]) -> None:
        super().__init__(name, fingerprint, settings)
        self.model, self.reader = model.eval(), reader

    @classmethod
    def from_pretrained(cls, name: str, device: str, overrides: Mapping[str, str]) -> "TransformersImageToText":
        """Loads a folder that `save_pretrained` wrote, or a hub id. No code from the model's repository is run.
        Raises UserError: it cannot be loaded, turns no image into text, or a setting is wrong."""
        dtype = dtype_of(overrides.get("dtype", "float32"))
        folder, what = Path(name), f"transformers model '{name}'"
        if (folder / "model_index.json").is_file():
            raise UserError(f"{what} cannot be loaded: it is a pipeline of diffusers; --model diffusers:{name}")
        with foreign(f"{what} cannot be loaded"):
            if not folder.is_dir():
                from huggingface_hub import snapshot_download

                folder = Path(snapshot_download(name, allow_patterns=_FILES))
            # A captioner's encoder may come without its pooler, which no decoder reads.
            model, _ = load(AutoModelForImageTextToText, folder, what, lacking=r"^encoder\.pooler\.", dtype=dtype)
            reader = _Reader.from_pretrained(folder)
            model.to(device)  # type: ignore[arg-type]  # transformers types `to` as of a model
        defaults = DEFAULTS | ({"prompt": CHAT_PROMPT} if reader.chat else {})
        settings = read_settings(overrides, defaults, f"transformers model '{name}'")
        settings |= {"architecture": type(model).__name__, "chat_template": reader.chat}
        system = folder.resolve().name if Path(name).is_dir() else name
        return cls(model, reader, system, folder_fingerprint(folder), settings)

    def generate_reports(self, images: Sequence[Image.Image], *, seeds: Sequence[int]) -> list[str]:
        """One report for each image."""
        if not self._settings["sample"]:
            return self._generate(images)
        reports: list[str] = []
        for image, seed in zip(images, seeds, strict=True):
            # transformers samples from torch's global state and takes no generator: the state is ours for one image.
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                reports += self._generate([image])
        return reports

    def _generate(self, images: Sequence[Image.Image]) -> list[str]:
        try:
            return self._decoded(images)
        except Exception as error:
            positions = _positions(self.model)
            longest = "" if positions is None else f", which ends after {positions} tokens, prompt and report together"
            tokens = f"try a --set max_new_tokens below {self._settings['max_new_tokens']}{longest}"
            raise self._failure(error, {**ONE_IMAGE, TOO_LONG: tokens}) from error

    @torch.inference_mode()
    def _decoded(self, images: Sequence[Image.Image]) -> list[str]:
        settings = self._settings
        inputs = self.reader.inputs(images, settings["prompt"]).to(self.model.device)
        inputs = {key: value.to(self.model.dtype) if value.is_floating_point() else value for key, value in inputs.items()}
        options: dict[str, Any] = {"max_new_tokens": settings["max_new_tokens"], "num_beams": settings["beams"]}
        options["do_sample"] = settings["sample"]
        if settings["sample"]:
            options |= {"temperature": settings["temperature"], "top_p": settings["top_p"]}
        tokens = self.model.generate(**inputs, **options)
        given = inputs.get("input_ids")
        if given is not None and torch.equal(tokens[:, : given.shape[1]], given):
            tokens = tokens[:, given.shape[1] :]
        return [self.reader.text(row, settings["prompt"]) for row in tokens]


def _positions(model: Any) -> int | None:
    """Tokens that the text part can hold; None where it does not say."""
    config = vars(model.config.get_text_config(decoder=True))
    positions = config.get("max_position_embeddings") or config.get("n_positions")
    return positions if isinstance(positions, int) else None


class _Reader:
    """Images and a prompt to a model's inputs, and its tokens to text."""

    def __init__(self, processor: Any, images: Any, tokenizer: Any) -> None:
        self.processor, self.images, self.tokenizer = processor, images, tokenizer
        tokenizer.padding_side = "left"  # text goes on from the end of a row
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token

    @classmethod
    def from_pretrained(cls, folder: Path) -> "_Reader":
        """One processor for both modalities where the folder has one, else an image processor and a tokenizer."""
        if (folder / "processor_config.json").is_file() or (folder / "chat_template.jinja").is_file():
            processor = AutoProcessor.from_pretrained(folder)
            return cls(processor, processor.image_processor, processor.tokenizer)
        return cls(None, AutoImageProcessor.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))

    @property
    def chat(self) -> bool:
        """Whether the prompt is a user's turn."""
        return self.processor is not None and self.processor.chat_template is not None

    def inputs(self, images: Sequence[Image.Image], prompt: str) -> Any:
        """Model inputs of a batch; the images are RGB."""
        pictures = [image.convert("RGB") for image in images]
        if self.chat:
            turn = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}]
            text = self.processor.apply_chat_template(turn, add_generation_prompt=True)
            return self.processor(images=pictures, text=[text] * len(pictures), padding=True, return_tensors="pt")
        if self.processor is not None:
            text = [prompt] * len(pictures) if prompt else None
            return self.processor(images=pictures, text=text, padding=True, return_tensors="pt")
        inputs = self.images(images=pictures, return_tensors="pt")
        if prompt:
            ids = self.tokenizer([prompt] * len(pictures), add_special_tokens=False, return_tensors="pt").input_ids
            inputs["decoder_input_ids"] = ids
        return inputs

    def text(self, tokens: torch.Tensor, prompt: str) -> str:
        """The report of one row of tokens, without the prompt that it may begin with."""
        text = " ".join(self.tokenizer.decode(tokens, skip_special_tokens=True).split())
        beginning = " ".join(self.tokenizer.decode(self.tokenizer(prompt).input_ids, skip_special_tokens=True).split())
        return text.removeprefix(beginning).strip() if beginning else text
