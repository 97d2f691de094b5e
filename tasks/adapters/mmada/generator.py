"""MMaDA as a system for image generation and report generation: `--model mmada:FOLDER-or-hub-id`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import PreTrainedTokenizerFast

from medim.common.errors import UserError, foreign
from medim.common.files import hash_of
from medim.imaging.images import square, to_images, to_tensor
from medim.weights.files import read_folder
from tasks.adapters.adapter import OneTask, dtype_of, folder_fingerprint, read_settings
from tasks.adapters.mmada.magvit import Magvit
from tasks.adapters.mmada.network import Network, Shape, read_network
from tasks.adapters.mmada.sampling import draw_codes, draw_text
from tasks.adapters.transformers_image_to_text import CHAT_PROMPT
from tasks.protocols import Request

DEFAULTS: dict[str, Any] = {
    "steps": 15,
    "guidance": 3.5,
    "temperature": 1.0,
    "prompt_tokens": 512,
    "prompt": CHAT_PROMPT,
    "max_new_tokens": 512,
    "report_steps": 256,
    "block": 128,
    "report_temperature": 0.0,
    "dtype": "float32",
    "image_tokenizer": "",
}
IMAGE_BEGIN, IMAGE_END, TEXT_TO_IMAGE, UNDERSTAND, PADDING = 126084, 126085, 126088, 126089, 126093
"""Reserved ids of LLaDA's vocabulary; code c of an image is the id behind all of the tokenizer's, plus c."""
_ADDED = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
_FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.bin"]
BESIDE = "magvitv2"


class Mmada(OneTask):
    """Draws images of reports and writes reports of images, each sample by itself, from one seed.
    Settings: of images `steps`, `guidance`, `temperature` of the confidence, and `prompt_tokens`, behind which a report is cut;
    of reports the user's turn `prompt`, `max_new_tokens`, `report_steps`, `block` and `report_temperature` (0 takes the
    likeliest tokens, and no seed matters); `dtype`; and `image_tokenizer`, a folder like showlab/magvitv2, by default
    `magvitv2` inside the model's."""

    modality = "image"

    def __init__(
        self,
        network: Network,
        shape: Shape,
        magvit: Magvit,
        tokenizer: PreTrainedTokenizerFast,
        name: str,
        fingerprint: str,
        settings: Mapping[str, Any],
    ) -> None:
        super().__init__(name, fingerprint, settings)
        self.network, self.shape, self.magvit, self.tokenizer = network, shape, magvit, tokenizer
        self.offset = len(tokenizer)
        self.resolution = self.side = shape.side * magvit.downsampling

    @classmethod
    def from_pretrained(cls, name: str, device: str, overrides: Mapping[str, str]) -> "Mmada":
        """Loads a folder like Gen-Verse/MMaDA-8B-MixCoT, or a hub id.
        Raises UserError: it cannot be loaded, or a setting is wrong."""
        what, folder = f"MMaDA '{name}'", Path(name)
        settings = read_settings(overrides, DEFAULTS, what)
        _refuse_steps(settings)
        with foreign(f"{what} cannot be loaded"):
            if not folder.is_dir():
                from huggingface_hub import snapshot_download

                folder = Path(snapshot_download(name, allow_patterns=_FILES))
        beside = Path(settings.pop("image_tokenizer") or folder / BESIDE)
        if not beside.is_dir():
            raise UserError(f"{what}: no image tokenizer in '{beside}': --set image_tokenizer=FOLDER, showlab/magvitv2's")
        with foreign(f"image tokenizer in '{beside}'"):
            magvit = Magvit(read_folder(beside), f"image tokenizer in '{beside}'").eval().to(device)
        network, shape = read_network(folder, dtype_of(settings["dtype"]))
        with foreign(f"tokenizer of {what} cannot be read"):
            tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        if tokenizer.bos_token_id is None or tokenizer.eos_token_id is None:
            raise UserError(f"{what}: its tokenizer_config.json has no bos_token or no eos_token")
        if tokenizer.chat_template is None:
            raise UserError(f"{what}: its tokenizer has no chat template, which the question about an image is put in")
        if absent := [token for token in _ADDED if token not in tokenizer.get_vocab()]:
            tokenizer.add_special_tokens({"additional_special_tokens": absent})
        rows = network.head.out_features
        if len(tokenizer) + magvit.codes > rows or len(tokenizer) <= shape.mask_token_id:
            raise UserError(
                f"{what} has {rows} rows and mask_token_id {shape.mask_token_id}, its tokenizer {len(tokenizer)} ids and the "
                f"image tokenizer {magvit.codes} codes: they do not fit each other"
            )
        fingerprint = hash_of([folder_fingerprint(folder), folder_fingerprint(beside)])
        system = folder.resolve().name if Path(name).is_dir() else name
        return cls(network.to(device), shape, magvit, tokenizer, system, fingerprint, settings)

    def cannot(self, task: Request) -> str | None:
        return None if tuple(task.needs) in (("image",), ("report",)) and task.prompted else self._alone

    @property
    def _alone(self) -> str:
        return "it draws images of reports and writes reports of images, not both at once"

    @torch.inference_mode()
    def generate_images(self, reports: Sequence[str], *, seeds: Sequence[int]) -> list[Image.Image]:
        """One image for each report."""
        codes = [self._codes(report, seed) for report, seed in zip(reports, seeds, strict=True)]
        return [to_images(self.magvit.decode(one[None].to(self._device)).clamp(-1, 1).cpu())[0] for one in codes]

    @torch.inference_mode()
    def generate_reports(self, images: Sequence[Image.Image], *, seeds: Sequence[int]) -> list[str]:
        """One report for each image."""
        turn = [{"role": "user", "content": self._settings["prompt"]}]
        text = self.tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        question = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        written = []
        for codes, seed in zip(self._read(images), seeds, strict=True):
            before = [UNDERSTAND, IMAGE_BEGIN, *(codes + self.offset).tolist(), IMAGE_END, *question]
            ids = self._text(torch.tensor(before), seed)
            written.append(str(self.tokenizer.decode(ids, skip_special_tokens=True)).strip())
        return written

    def reconstruct(self, images: Sequence[Image.Image]) -> list[Image.Image]:
        """The image tokenizer's round trip."""
        return [to_images(self.magvit.decode(codes[None]).clamp(-1, 1).cpu())[0] for codes in self._read(images)]

    @property
    def _device(self) -> torch.device:
        return self.network.head.weight.device

    def _read(self, images: Sequence[Image.Image]) -> list[torch.Tensor]:
        """The codes (N,) of each image."""
        pixels = (to_tensor([square(image, self.side)]).to(self._device) for image in images)
        return [self.magvit.encode(one)[0] for one in pixels]

    def _prompt(self, report: str) -> list[int]:
        """Task, BOS, words and EOS; a longer report is cut."""
        tokenizer, room = self.tokenizer, self._settings["prompt_tokens"]
        words = tokenizer(report)["input_ids"]
        if not words or words[0] != tokenizer.bos_token_id:
            words = [tokenizer.bos_token_id, *words]
        return [*[TEXT_TO_IMAGE, *words][:room], tokenizer.eos_token_id]

    def _codes(self, report: str, seed: int) -> torch.Tensor:
        """The codes (N,) of an image of the report; guided, a second row has an empty one, padded on the left."""
        guidance, codes = self._settings["guidance"], slice(self.offset, self.offset + self.magvit.codes)
        prompts = [self._prompt(report), *([self._prompt("")] if guidance else [])]
        longest = max(map(len, prompts))
        heads = torch.tensor([[*[PADDING] * (longest - len(one)), *one, IMAGE_BEGIN] for one in prompts])
        count = self.shape.num_vq_tokens

        def logits(known: torch.Tensor) -> torch.Tensor:
            image = torch.where(known < 0, self.shape.mask_token_id, known + self.offset)
            tail = torch.cat([image, torch.tensor([IMAGE_END])]).expand(len(heads), -1)
            ids = torch.cat([heads, tail], dim=1).to(self._device)
            states = self.network.hidden(ids, ids == PADDING)[:, -count - 1 : -1]
            rows = torch.nn.functional.linear(states, self.network.head.weight[codes])
            return rows[0] if len(rows) == 1 else (1 + guidance) * rows[0] - guidance * rows[1]

        generator = torch.Generator().manual_seed(seed)
        return draw_codes(logits, count, self._settings["steps"], self._settings["temperature"], generator)

    def _text(self, before: torch.Tensor, seed: int) -> torch.Tensor:
        settings, start = self._settings, len(before)

        def logits(ids: torch.Tensor, part: slice) -> torch.Tensor:
            states = self.network.hidden(torch.cat([before, ids])[None].to(self._device))
            return self.network.head(states[0, start + part.start : start + part.stop])

        return draw_text(
            logits,
            settings["max_new_tokens"],
            settings["report_steps"],
            settings["block"],
            self.shape.mask_token_id,
            settings["report_temperature"],
            torch.Generator().manual_seed(seed),
        )


def _refuse_steps(settings: Mapping[str, Any]) -> None:
    """Raises UserError where text does not divide into blocks, or steps into them; or nothing would be drawn."""
    for key in ("steps", "max_new_tokens", "report_steps", "block", "prompt_tokens"):
        if settings[key] < 1:
            raise UserError(f"--set {key}={settings[key]}: at least 1 is needed")
    length, block, steps = settings["max_new_tokens"], settings["block"], settings["report_steps"]
    if length % block:
        raise UserError(f"--set max_new_tokens={length}: it has to be a multiple of block, which is {block}")
    if steps % (length // block) or steps > length:
        raise UserError(f"--set report_steps={steps}: it has to be a multiple of the {length // block} blocks, up to {length}")


def mmada(argument: str | None, device: str, settings: Mapping[str, str]) -> Mmada:
    """The entry of `medim.generators`."""
    if argument is None:
        raise UserError("--model mmada needs more: mmada:FOLDER-or-hub-id")
    return Mmada.from_pretrained(argument, device, settings)
