"""A trained model with both tokenizers: reports, images and pairs in, reports, images and pairs out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from medim.canvas import Canvas
from medim.checkpoints import resolve
from medim.common.errors import UserError, named
from medim.common.files import hash_files, write_json
from medim.data.dataset import Checker
from medim.denoiser import MeDiMModel
from medim.imaging.images import OURS, Geometry
from medim.likelihood.pairs import PairLikelihood, SentenceEvidence, pair_likelihood, sentence_evidence
from medim.model_folder import read_model, refuse_other_tokenizers
from medim.sampling.cost import Cost
from medim.sampling.decoder import Decoded, decode
from medim.sampling.editing.completion import Completion, canvas_of, canvas_of_edit, one_each, sampler_of_edit, with_gaps
from medim.sampling.editing.regions import Mask, token_mask
from medim.sampling.ending import Ending
from medim.sampling.settings import SamplerSettings
from medim.sampling.steering import Spent, Steering, steer
from medim.tokenizers.image import ImageTokenizer
from medim.tokenizers.report import ReportTokenizer
from medim.tokenizers.sentences import sentence_slices

SAMPLER = "sampler.json"


class MeDiMPipeline:
    """Generates images from reports, reports from images, and both together.
    Every `generate_*` takes one seed for each sample; a sample depends on its seed and its input, not on its batch.
    `name`: as shown on a leaderboard.
    `fingerprint`: hash of configuration, weights and vocabulary.
    `sampler`: how canvases are filled; `configure` changes it.
    `steering`: the checkers of `steer`, or None.
    `spent`: cost of the last call that generated anything."""

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
        self.steering: Steering | None = None
        self.spent = Spent([], [])

    @classmethod
    def from_pretrained(
        cls, name: str | Path, device: str | None = None, dtype: torch.dtype = torch.float32
    ) -> "MeDiMPipeline":
        """Loads a shipped model by name, or a folder that `medim-bench train model` wrote. `dtype`: of the denoiser's weights
        and activations; the image tokenizer stays in float32. Raises UserError: unknown name, missing or unreadable file."""
        folder = resolve(str(name))
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        model = read_model(folder, dtype).to(device)
        for part in ("image_tokenizer", "report_tokenizer"):
            if not (folder / part).is_dir():
                raise UserError(f"model in '{folder}' is incomplete: the folder {part}/ is missing")
        images = ImageTokenizer.from_pretrained(folder / "image_tokenizer").to(device)
        reports = ReportTokenizer.from_pretrained(folder / "report_tokenizer", model.config.report_length)
        refuse_other_tokenizers(model.config, images, reports, folder)
        sampler = SamplerSettings.read(folder / SAMPLER) if (folder / SAMPLER).exists() else SamplerSettings()
        weights = [*sorted(folder.glob("*.safetensors")), *sorted((folder / "image_tokenizer").glob("*.safetensors"))]
        fingerprint = hash_files(folder / "config.json", folder / "report_tokenizer" / "tokenizer.json", *weights)
        return cls(model, images, reports, sampler, folder.resolve().name, fingerprint)

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype = torch.float32) -> None:
        """Writes what `from_pretrained` reads; float16 halves the weights, which are read back as float32."""
        folder, config = Path(folder), self.model.config
        config.report_tokenizer, config.image_tokenizer = self.reports.vocabulary, self.images.vocabulary
        self.images.save_pretrained(folder / "image_tokenizer", dtype)
        self.reports.save_pretrained(folder / "report_tokenizer")
        write_json(folder / SAMPLER, self.sampler.to_dict())
        self.model.to(dtype).save_pretrained(folder)
        self.model.to(torch.float32)

    @property
    def resolution(self) -> int:
        """Side of the generated images, in pixels."""
        return self.images.resolution

    @property
    def geometry(self) -> Geometry:
        """How pictures of another shape become the squares that it is shown."""
        return self.images.geometry

    def configure(self, overrides: dict[str, Any]) -> None:
        """Changes sampler settings: `{"image.steps": 32}`. Raises UserError for an unknown name or a value out of range."""
        self.sampler = self.sampler.with_overrides(overrides)

    def steer(self, images: Checker, reports: Checker) -> None:
        """Lets checkers choose among `steering.candidates` samples and guide `steering.repairs`.
        `images`: a checker that does not score, such as `dataset.steering_image_checker()` of the phantom sets."""
        self.steering = Steering(images, reports)

    def settings(self) -> dict[str, Any]:
        """Sampler settings, the checkers that steer, and a `dtype` or geometry that is not the usual one, for signatures."""
        values: dict[str, Any] = self.sampler.to_dict()
        if self.model.dtype != torch.float32:
            values["dtype"] = str(self.model.dtype).removeprefix("torch.")
        if self.geometry != OURS:
            values["geometry"] = self.geometry.name
        if self.steered and self.steering is not None:
            values["steering"] |= self.steering.settings()
        return values

    def cost(self) -> dict[str, float]:
        """Cost of each sample of the last call (`Spent.each`)."""
        return self.spent.each(Cost.of(self.model))

    def tokenizers(self) -> dict[str, str]:
        """Hashes of both tokenizers: nats per token of two models are comparable where they are equal."""
        return {"image_tokenizer": self.images.fingerprint, "report_tokenizer": self.reports.fingerprint}

    @property
    def report_vocabulary(self) -> int:
        """Number of report ids."""
        return self.reports.size

    def report_ids(self, reports: Sequence[str]) -> torch.Tensor:
        """Ids with the end and padding, shape (n, report_length)."""
        return self.reports.encode(reports)

    def generate_images(self, reports: Sequence[str], *, seeds: Sequence[int]) -> list[Image.Image]:
        """One image for each report. A report longer than the canvas conditions by its beginning (see `reports.fits`)."""
        canvas = self._blank(len(reports)).give_report(self.reports.encode(reports).to(self.model.device))
        return self._images(self._decode(canvas, seeds))

    def generate_reports(self, images: Sequence[Image.Image], *, seeds: Sequence[int]) -> list[str]:
        """One report for each image, of any size."""
        return self._reports(self._decode(self._blank(len(images)).give_image(self._codes(images)), seeds))

    def has_room(self, prompt: str) -> bool:
        """Whether a report that begins with the prompt has tokens left."""
        return len(self.reports.ids(prompt)) < self.reports.report_length

    def generate_pairs(self, prompts: Sequence[str], *, seeds: Sequence[int]) -> list[tuple[Image.Image, str]]:
        """One image and one report for each prompt; the report begins with the prompt, which may be empty.
        Raises UserError: a prompt that leaves no room in the report."""
        tokens = self.reports.encode(prompts)
        given = torch.zeros_like(tokens, dtype=torch.bool)
        for row, prompt in zip(given, prompts, strict=True):
            length = len(self.reports.ids(prompt))
            if not self.has_room(prompt):
                room = self.reports.report_length
                raise UserError(f"prompt of {length} tokens leaves no room in a report of {room}: {prompt!r}")
            row[:length] = True
        canvas = self._blank(len(prompts)).give_report(tokens.to(self.model.device), given.to(self.model.device))
        canvas = self._decode(canvas, seeds)
        return list(zip(self._images(canvas), self._reports(canvas), strict=True))

    def complete(
        self,
        images: Sequence[Image.Image | None] | None = None,
        reports: Sequence[str | None] | None = None,
        *,
        image_masks: Sequence[Mask | None] | None = None,
        spans: Sequence[Sequence[tuple[int, int]]] | None = None,
        seeds: Sequence[int],
    ) -> list[Completion]:
        """Pairs of which any part is given and the rest is generated; what is given never changes, as tokens.

        Args:
            images: of any size; None for one to generate, or for all.
            reports: entire, or with gaps: "Heart size is normal. [[ ]] No effusion."; `[[12]]` is a gap of 12 tokens, one at
                the end is as long as the model makes it. None for one to generate.
            image_masks: region of each image to draw anew: a picture or array of its size, or a box (x, y, width, height) in
                its pixels; every token that it touches is drawn. None keeps the image.
            spans: characters (start, stop) of each report to write anew, in place of gaps.
            seeds: one for each pair.

        Raises UserError: a mask or span that does not fit, a mask without its image, a report that does not.
        """
        count = len(seeds)
        pictures, texts = one_each(images, count, "images"), one_each(reports, count, "reports")
        masks, cuts = one_each(image_masks, count, "image_masks"), one_each(spans, count, "spans")
        redraw: list[np.ndarray | None] = []
        for index, (image, mask) in enumerate(zip(pictures, masks, strict=True)):
            if mask is not None and image is None:
                raise UserError(f"image_masks: sample {index} has a mask and no image")
            redraw.append(None if mask is None or image is None else token_mask(mask, image.size, self.images.grid))
        written = [with_gaps(text, cut) if text is not None and cut else text for text, cut in zip(texts, cuts, strict=True)]
        canvas = canvas_of(self.model, self.reports, self._codes_where(pictures), redraw, written, seeds)
        return self._completed(canvas, seeds)

    def edit(
        self,
        images: Sequence[Image.Image],
        reports: Sequence[str],
        new_reports: Sequence[str],
        *,
        regions: Sequence[Mask | None] | None = None,
        seeds: Sequence[int],
    ) -> list[Completion]:
        """Images changed as their reports are changed, by `sampler.edit`; all tokens outside the region stay.
        `new_reports`: what each report becomes; gaps in it are written together with the image.
        `regions`: as `image_masks` of `complete`; None finds them (`regions.concerned`).
        Raises UserError: a region or report that does not fit, or no region for a model that cannot find one."""
        areas = [
            None if area is None else token_mask(area, image.size, self.images.grid)
            for area, image in zip(one_each(regions, len(seeds), "regions"), images, strict=True)
        ]
        canvas, search = canvas_of_edit(
            self.model, self.reports, self._codes_where(images), reports, new_reports, areas, self.sampler.edit.share, seeds
        )
        done = self._completed(canvas, seeds, sampler_of_edit(self.sampler, self.model))
        if search is not None:
            self.spent.add(search, len(seeds))
        return done

    @property
    def finds_regions(self) -> bool:
        """Whether `edit` can find regions."""
        return not self.model.autoregressive

    def image_codes(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """The tokens of images of any size, (n, grid, grid)."""
        return self._codes(images).view(len(images), self.images.grid, self.images.grid).cpu()

    def reconstruct(self, images: Sequence[Image.Image]) -> list[Image.Image]:
        """The tokenizer's round trip: the model's ceiling."""
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
        """Nats of pairs under the model, by modality, with standard errors (see `medim.likelihood.bound`).
        `images`: of any size; a likelihood is one of their codes.
        `condition`: `joint` (image and report), `report|image`, `image|report`, or a modality alone: `report`, `image`.
        `draws`: of the noise, for each pair; an autoregressive model is exact.
        `seeds`: of the noise of each pair; its running number by default.
        `batch`: pairs at once; no result depends on it."""
        seeds = range(len(reports)) if seeds is None else seeds
        return pair_likelihood(self.model, self.reports, self._codes(images), reports, condition, draws, seeds, batch)

    def evidence(self, image: Image.Image, report: str, *, draws: int = 16, seed: int = 0) -> list[SentenceEvidence]:
        """log p(sentence | image, rest) - log p(sentence | rest) of each sentence (see `medim.likelihood.bound.evidence`).
        Raises UserError: the report does not fit the canvas."""
        return sentence_evidence(self.model, self.reports, self._codes([image]), report, draws, seed)

    def _blank(self, batch: int) -> Canvas:
        return Canvas.blank(self.model.config.layout, batch, self.model.device)

    @property
    def steered(self) -> bool:
        """Whether the sampler's settings need checkers; see `steer`."""
        return self.sampler.steering.needs_checkers

    def _decode(self, canvas: Canvas, seeds: Sequence[int], sampler: SamplerSettings | None = None) -> Canvas:
        if len(seeds) != len(canvas.tokens):
            raise ValueError(f"{len(canvas.tokens)} samples but {len(seeds)} seeds")
        ending = Ending(self.reports.end, self.reports.padding)

        def run(part: Canvas, numbers: Sequence[int]) -> Decoded:
            with named(f"model '{self.name}'"):
                return decode(self.model, part, sampler or self.sampler, numbers, ending)

        if not self.steered:
            decoded = run(canvas, seeds)
            self.spent = Spent([decoded], [len(seeds)])
            return decoded.canvas
        if self.steering is None:
            raise UserError("steering.candidates and steering.repairs need checkers: `steer` names them")
        done, self.spent = steer(
            canvas,
            seeds,
            self.steering,
            self.sampler.steering,
            run,
            show=lambda part: (self._images(part), self._reports(part)),
            sentences=lambda part, row: sentence_slices(self.reports, part.report_tokens()[row].tolist()),
            flops=lambda decoded: Cost.of(self.model).of_passes(decoded.passes),
        )
        return done

    def _completed(self, canvas: Canvas, seeds: Sequence[int], sampler: SamplerSettings | None = None) -> list[Completion]:
        done = self._decode(canvas, seeds, sampler)
        redrawn = (~canvas.given[:, canvas.layout.image]).view(len(seeds), self.images.grid, self.images.grid).cpu().numpy()
        rows = zip(self._images(done), self._reports(done), done.image_codes().cpu(), redrawn, strict=True)
        return [Completion(image, report, codes, mask) for image, report, codes, mask in rows]

    def _codes_where(self, images: Sequence[Image.Image | None]) -> list[torch.Tensor | None]:
        present = [image for image in images if image is not None]
        codes = iter(self._codes(present) if present else ())
        return [None if image is None else next(codes) for image in images]

    def _codes(self, images: Sequence[Image.Image]) -> torch.Tensor:
        return self.images.encode_images([self.images.square(image) for image in images]).to(self.model.device)

    def _images(self, canvas: Canvas) -> list[Image.Image]:
        one = canvas.tokens.device.type == "cpu"  # there a batch rounds unlike its rows alone
        return self.images.decode_images(canvas.image_codes(), batch_size=1 if one else None)

    def _reports(self, canvas: Canvas) -> list[str]:
        return self.reports.decode(canvas.report_tokens().cpu())
