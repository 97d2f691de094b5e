"""A trained model with both tokenizers: reports, images and pairs in, reports, images and pairs out."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError

from medim.canvas import Canvas
from medim.checkpoints import resolve
from medim.data.images import square
from medim.denoiser import MeDiMModel
from medim.errors import UserError
from medim.files import hash_files, write_json
from medim.pair_likelihood import PairLikelihood, SentenceEvidence, pair_likelihood, sentence_evidence
from medim.sampling.decoder import decode
from medim.sampling.ending import Ending
from medim.sampling.settings import SamplerSettings
from medim.tokenizers.image import ImageTokenizer
from medim.tokenizers.report import ReportTokenizer

SAMPLER = "sampler.json"


class MeDiMPipeline:
    """Generates images from reports, reports from images, and both together.

    Every `generate_*` takes one seed for each sample; a sample depends on its seed and its input, not on its batch.

    Attributes:
        name: as shown on a leaderboard.
        fingerprint: hash of configuration, weights and vocabulary.
        sampler: how canvases are filled; `configure` changes it.
    """

    def __init__(
        self,
        model: MeDiMModel,
        images: ImageTokenizer,
        reports: ReportTokenizer,
        sampler: SamplerSettings,
        name: str,
        fingerprint: str,
    ) -> None:
        self.model, self.images, self.reports = model.eval(), images, reports
        self.sampler, self.name, self.fingerprint = sampler, name, fingerprint

    @classmethod
    def from_pretrained(cls, name: str | Path, device: str | None = None) -> "MeDiMPipeline":
        """Loads a shipped model by name, or a folder that `medim-bench train model` wrote.

        Raises:
            UserError: unknown name, missing or unreadable file.
        """
        folder = resolve(str(name))
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            model = MeDiMModel.from_pretrained(folder, dtype=torch.float32).to(device)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise UserError(f"model in '{folder}' cannot be loaded: {str(error).strip().splitlines()[0]}") from error
        for part in ("image_tokenizer", "report_tokenizer"):
            if not (folder / part).is_dir():
                raise UserError(f"model in '{folder}' is incomplete: the folder {part}/ is missing")
        images = ImageTokenizer.from_pretrained(folder / "image_tokenizer").to(device)
        reports = ReportTokenizer.from_pretrained(folder / "report_tokenizer", model.config.report_length)
        sampler = SamplerSettings()
        if (folder / SAMPLER).exists():
            sampler = SamplerSettings.from_dict(json.loads((folder / SAMPLER).read_text(encoding="utf-8")))
        weights = [*sorted(folder.glob("*.safetensors")), *sorted((folder / "image_tokenizer").glob("*.safetensors"))]
        fingerprint = hash_files(folder / "config.json", folder / "report_tokenizer" / "tokenizer.json", *weights)
        return cls(model, images, reports, sampler, folder.resolve().name, fingerprint)

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype = torch.float32) -> None:
        """Writes what `from_pretrained` reads; float16 halves the weights, which are read back as float32."""
        folder = Path(folder)
        self.images.save_pretrained(folder / "image_tokenizer", dtype)
        self.reports.save_pretrained(folder / "report_tokenizer")
        write_json(folder / SAMPLER, self.sampler.to_dict())
        self.model.to(dtype).save_pretrained(folder)
        self.model.to(torch.float32)

    @property
    def resolution(self) -> int:
        """Side of the generated images, in pixels."""
        return self.images.resolution

    def configure(self, overrides: dict[str, Any]) -> None:
        """Changes sampler settings: `{"image.steps": 32}`. Raises UserError for an unknown name or a value out of range."""
        self.sampler = self.sampler.with_overrides(overrides)

    def settings(self) -> dict[str, Any]:
        """Sampler settings, as they stand in a signature."""
        return self.sampler.to_dict()

    def tokenizers(self) -> dict[str, str]:
        """Hashes of both tokenizers: nats per token of two models are comparable where that modality's are equal."""
        return {"image_tokenizer": self.images.fingerprint, "report_tokenizer": self.reports.fingerprint}

    @property
    def report_vocabulary(self) -> int:
        """Number of report ids."""
        return self.reports.size

    def report_ids(self, reports: Sequence[str]) -> torch.Tensor:
        """Reports as the model reads them: ids, the end and padding, shape (n, report_length)."""
        return self.reports.encode(reports)

    def generate_images(self, reports: Sequence[str], *, seeds: Sequence[int]) -> list[Image.Image]:
        """One image for each report. A report longer than the canvas conditions by its beginning (see `reports.fits`)."""
        canvas = self._blank(len(reports)).give_report(self.reports.encode(reports).to(self.model.device))
        return self._images(self._decode(canvas, seeds))

    def generate_reports(self, images: Sequence[Image.Image], *, seeds: Sequence[int]) -> list[str]:
        """One report for each image; images of any size are brought to the model's geometry."""
        return self._reports(self._decode(self._blank(len(images)).give_image(self._codes(images)), seeds))

    def generate_pairs(self, prompts: Sequence[str], *, seeds: Sequence[int]) -> list[tuple[Image.Image, str]]:
        """One image and one report for each prompt; the report begins with the prompt, an empty prompt asks for nothing.

        Raises:
            UserError: a prompt that leaves no room in the report.
        """
        tokens = self.reports.encode(prompts)
        given = torch.zeros_like(tokens, dtype=torch.bool)
        for row, prompt in zip(given, prompts, strict=True):
            length = len(self.reports.ids(prompt))
            if length >= self.reports.report_length:
                room = self.reports.report_length
                raise UserError(f"prompt of {length} tokens leaves no room in a report of {room}: {prompt!r}")
            row[:length] = True
        canvas = self._blank(len(prompts)).give_report(tokens.to(self.model.device), given.to(self.model.device))
        canvas = self._decode(canvas, seeds)
        return list(zip(self._images(canvas), self._reports(canvas), strict=True))

    def reconstruct(self, images: Sequence[Image.Image]) -> list[Image.Image]:
        """The tokenizer's round trip: what the model could at best show."""
        return self.images.decode_images(self._codes(images))

    def log_likelihood(
        self,
        images: Sequence[Image.Image],
        reports: Sequence[str],
        condition: str = "joint",
        *,
        draws: int = 8,
        seeds: Sequence[int] | None = None,
        batch: int = 32,
    ) -> PairLikelihood:
        """Nats of pairs under the model, by modality, with standard errors (see `medim.diffusion.likelihood`).

        Args:
            images: of any size; a likelihood is one of their codes.
            condition: `joint` (image and report), `report|image`, `image|report`, or a modality alone: `report`, `image`.
            draws: of the noise, for each pair; an autoregressive model needs none and is exact.
            seeds: one for each pair, of its noise; its running number by default. Pairs of equal seeds get equal noise.
            batch: pairs at once; no result depends on it.

        Raises:
            UserError: an unknown condition, or no draws.
        """
        seeds = range(len(reports)) if seeds is None else seeds
        return pair_likelihood(self.model, self.reports, self._codes(images), reports, condition, draws, seeds, batch)

    def evidence(self, image: Image.Image, report: str, *, draws: int = 16, seed: int = 0) -> list[SentenceEvidence]:
        """What the image says for each sentence of the report: log p(sentence | image, rest) - log p(sentence | rest).

        Of a diffusion model both terms are estimates by bounds under equal noise; of an autoregressive one they are exact, and
        the rest is what stands before the sentence.

        Raises:
            UserError: the report does not fit the canvas.
        """
        return sentence_evidence(self.model, self.reports, self._codes([image]), report, draws, seed)

    def _blank(self, batch: int) -> Canvas:
        return Canvas.blank(self.model.config.layout, batch, self.model.device)

    def _decode(self, canvas: Canvas, seeds: Sequence[int]) -> Canvas:
        if len(seeds) != len(canvas.tokens):
            raise ValueError(f"{len(canvas.tokens)} samples but {len(seeds)} seeds")
        return decode(self.model, canvas, self.sampler, seeds, Ending(self.reports.end, self.reports.padding)).canvas

    def _codes(self, images: Sequence[Image.Image]) -> torch.Tensor:
        return self.images.encode_images([square(image, self.resolution) for image in images]).to(self.model.device)

    def _images(self, canvas: Canvas) -> list[Image.Image]:
        return self.images.decode_images(canvas.image_codes())

    def _reports(self, canvas: Canvas) -> list[str]:
        return self.reports.decode(canvas.report_tokens().cpu())
