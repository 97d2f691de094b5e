"""Any text-to-image pipeline of diffusers as a system for image generation."""

import importlib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from PIL import Image

from medim.common.errors import UserError, foreign, named
from medim.common.files import read_mapping
from medim.weights.loading import load
from tasks.adapters.adapter import OneTask, dtype_of, folder_fingerprint, read_settings

# Our names, and those of the pipelines' arguments, whose defaults hold unless --set says otherwise.
_ARGUMENTS = {"steps": "num_inference_steps", "guidance": "guidance_scale"}
_FALLBACK = {"steps": 50, "guidance": 7.5}
_DTYPE = {"diffusers": "torch_dtype", "transformers": "dtype"}
"""Libraries whose networks are read one by one, with the name of the option for the type of their weights."""
REPORT = "{report}"
SIZES = r"divisible|height|width|size mismatch|[Ss]izes? of tensor|shape"
HINTS = {
    r"num_inference_steps|timesteps|index \d+ is out of bounds": "try another --set steps=N",
    r"guidance": "try another --set guidance=X",
}


class DiffusersTextToImage(OneTask):
    """A pipeline whose prompt is the report.

    Settings: `steps`, `guidance` (the pipeline's defaults), `resolution` (its native one), `prompt` (a template with
    `{report}`), `negative_prompt`, `safety_checker` (false: medical images set it off; with true, what it flags counts as
    missing), `dtype`. A report longer than the text encoder's window conditions by its beginning; the window is in the
    settings as `prompt_tokens`.

    Each image is drawn from a separate CPU generator, so it does not depend on its batch or on the device's random numbers.
    """

    modality = "image"

    def __init__(self, pipeline: Any, name: str, fingerprint: str, settings: Mapping[str, Any]) -> None:
        super().__init__(name, fingerprint, settings)
        self.pipeline = pipeline
        self.resolution = int(settings["resolution"])

    @classmethod
    def from_pretrained(cls, name: str, device: str, overrides: Mapping[str, str]) -> "DiffusersTextToImage":
        """Loads a folder that `save_pretrained` wrote, or a hub id.
        Raises UserError: it cannot be loaded, is not driven by text, or a setting is wrong."""
        dtype = dtype_of(overrides.get("dtype", "float32"))
        folder = Path(name)
        what = f"diffusers pipeline '{name}'"
        if (folder / "config.json").is_file() and not (folder / "model_index.json").is_file():
            raise UserError(f"{what} cannot be loaded: it is one model, no pipeline; perhaps --model transformers:{name}")
        with named(f"{what} cannot be loaded"), foreign("diffusers"):
            if not folder.is_dir():
                folder = Path(DiffusionPipeline.download(name))
            pipeline = DiffusionPipeline.from_pretrained(folder, torch_dtype=dtype, **_networks(folder, dtype)).to(device)
        parameters = inspect.signature(pipeline.__call__).parameters
        if "prompt" not in parameters:
            raise UserError(f"diffusers pipeline '{name}' ({type(pipeline).__name__}) takes no prompt: it draws no reports")
        settings = read_settings(overrides, _defaults(pipeline, parameters), f"diffusers pipeline '{name}'")
        if REPORT not in settings["prompt"]:
            raise UserError(f"--set prompt={settings['prompt']}: the template needs {REPORT}")
        if not settings["resolution"]:
            raise UserError(f"diffusers pipeline '{name}' states no resolution: give --set resolution=PIXELS")
        if "safety_checker" in settings and not settings["safety_checker"]:
            pipeline.register_modules(safety_checker=None)
        pipeline.set_progress_bar_config(disable=True)
        settings["pipeline"] = type(pipeline).__name__
        if (window := _window(pipeline)) is not None:
            settings["prompt_tokens"] = window
        system = folder.resolve().name if Path(name).is_dir() else name
        return cls(pipeline, system, folder_fingerprint(folder), settings)

    def generate_images(self, reports: Sequence[str], *, seeds: Sequence[int]) -> list[Image.Image]:
        """One RGB image for each report; None in place of one that the safety checker, where it is on, has flagged."""
        prompts = [self._settings["prompt"].replace(REPORT, report) for report in reports]
        options: dict[str, Any] = {_ARGUMENTS[key]: self._settings[key] for key in _ARGUMENTS if key in self._settings}
        if self._settings.get("negative_prompt"):
            options["negative_prompt"] = [self._settings["negative_prompt"]] * len(prompts)
        if "height" in inspect.signature(self.pipeline.__call__).parameters:
            options |= {"height": self.resolution, "width": self.resolution}
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        try:
            output = self.pipeline(prompt=prompts, generator=generators, output_type="pil", **options)
        except Exception as error:
            raise self._failure(
                error, {SIZES: f"try another --set resolution=PIXELS than {self.resolution}", **HINTS}
            ) from error
        flagged = output.get("nsfw_content_detected") or [False] * len(prompts)
        # A flagged image comes back black; as a missing one it lowers the coverage instead of posing as an answer.
        images: list[Any] = [None if bad else image.convert("RGB") for image, bad in zip(output.images, flagged, strict=True)]
        return images


def _networks(folder: Path, dtype: torch.dtype) -> dict[str, Any]:
    """The pipeline's networks, each with all its tensors: the pipeline itself would draw at random what a file lacks."""
    networks = {}
    for part, source in read_mapping(folder / "model_index.json").items():
        library, kind = source if isinstance(source, list) and len(source) == 2 else (None, None)
        if library in _DTYPE and isinstance(kind, str):
            found = getattr(importlib.import_module(library), kind, None)
            if isinstance(found, type) and issubclass(found, torch.nn.Module):
                options: dict[str, Any] = {_DTYPE[library]: dtype}
                networks[part], _ = load(found, folder / part, f"its {part}", **options)
    return networks


def _defaults(pipeline: Any, parameters: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"prompt": REPORT, "dtype": "float32", "resolution": _native_resolution(pipeline)}
    for key, argument in _ARGUMENTS.items():
        if argument in parameters:
            default = parameters[argument].default
            defaults[key] = default if isinstance(default, int | float) else _FALLBACK[key]
    if "negative_prompt" in parameters:
        defaults["negative_prompt"] = ""
    if "safety_checker" in pipeline.components:
        defaults["safety_checker"] = False
    return defaults


def _native_resolution(pipeline: Any) -> int:
    """Side that the denoiser was trained for, in pixels; 0 where the pipeline does not say."""
    for part in ("unet", "transformer"):
        model = pipeline.components.get(part)
        size = None if model is None else model.config.get("sample_size")
        if isinstance(size, int):
            return size * int(vars(pipeline).get("vae_scale_factor", 1))
    return 0


def _window(pipeline: Any) -> int | None:
    """Tokens of a prompt that the text encoder reads; None where there is no tokenizer."""
    tokenizer = pipeline.components.get("tokenizer")
    return None if tokenizer is None else min(int(tokenizer.model_max_length), 1 << 20)
