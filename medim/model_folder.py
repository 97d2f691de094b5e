"""A denoiser from a checkpoint's folder: its configuration checked field by field, every tensor read."""

from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from medim.backbones.build import SCRATCH, config_of
from medim.common.declared import checked
from medim.common.errors import UserError, foreign, named
from medim.common.files import read_mapping
from medim.denoiser import MeDiMConfig, MeDiMModel
from medim.tokenizers.image import ImageTokenizer
from medim.tokenizers.report import ReportTokenizer
from medim.weights.loading import load

CONFIG = "config.json"
CARD = "card.json"  # of a shipped model: its hash and bytes, and the vocabularies of its tokenizers
Dtype = Literal["float32", "float16", "bfloat16"]
Count = Annotated[int, Field(gt=0, le=2**20)]


class _Fields(BaseModel):
    """Types of the fields of config.json; `MeDiMConfig` checks names and choices."""

    model_config = ConfigDict(extra="allow", strict=True)

    backbone: dict[str, Any]
    text_vocabulary: Annotated[int, Field(gt=0, le=2**24)]
    image_codes: Count
    image_length: Count
    report_length: Annotated[int, Field(gt=1, le=2**17)]
    before_report: list[Annotated[int, Field(ge=0)]] = []
    after_report: list[Annotated[int, Field(ge=0)]] = []
    hidden_padding: Annotated[int, Field(ge=0)] | None = None
    report_tokenizer: str | None = None
    image_tokenizer: str | None = None
    model_type: Literal["medim"] = "medim"
    dtype: Dtype | None = None
    torch_dtype: Dtype | None = None
    architectures: list[str] | None = None
    transformers_version: str | None = None


def read_config(folder: Path) -> MeDiMConfig:
    """A checkpoint's config.json. Raises UserError where it is missing or broken, or a field is invalid."""
    file = folder / CONFIG
    values = read_mapping(file)
    checked(_Fields, values, f"'{file}'")
    backbone = config_of(values["backbone"], f"'{file}': backbone")
    text, rows = values["text_vocabulary"], backbone.vocab_size
    if text > rows:
        raise UserError(f"'{file}': text_vocabulary {text} is more than the backbone's vocab_size, which is {rows}")
    for key in ("before_report", "after_report"):
        if any(token >= text for token in values.get(key, ())):
            raise UserError(f"'{file}': {key} holds {max(values[key])}, which is no text id: there are {text}")
    with named(f"'{file}'"), foreign("transformers"):
        return MeDiMConfig.from_dict(values)


def read_model(folder: Path, dtype: torch.dtype) -> MeDiMModel:
    """The denoiser in a folder, on the CPU. Raises UserError for a wrong configuration or incomplete weights."""
    config = read_config(folder)
    return load(MeDiMModel, folder, f"model in '{folder}'", config=config, dtype=dtype)[0]


def refuse_other_tokenizers(config: MeDiMConfig, images: ImageTokenizer, reports: ReportTokenizer, folder: Path) -> None:
    """Raises UserError where a model's tokenizers are not those that it was trained with.
    A configuration of an older version names none: then the card of a shipped model does. Without either, sizes are compared;
    that of the report's vocabulary is an upper bound where it is a language model's, which may have spare rows."""
    mend = "the model was trained with another: put that one back"
    if (images.codes, images.length) != (config.image_codes, config.image_length):
        raise UserError(
            f"image tokenizer in '{folder}' has {images.codes} codes and {images.length} tokens an image, the model "
            f"{config.image_codes} and {config.image_length}: {mend}"
        )
    text = config.text_vocabulary
    together = not config.backbone.get("_name_or_path") and config.backbone["model_type"] not in SCRATCH
    if reports.size != text and (config.report_tokenizer is None and together):
        raise UserError(f"report tokenizer in '{folder}' has {reports.size} ids, the model {text}: {mend}")
    card = read_mapping(folder / CARD) if (folder / CARD).is_file() else {}
    for part, tokenizer in (("report_tokenizer", reports), ("image_tokenizer", images)):
        file, expected = CONFIG, getattr(config, part)
        if expected is None:
            file, expected = CARD, card.get(part)
        if expected is not None and expected != tokenizer.vocabulary:
            name = part.replace("_", " ")
            raise UserError(f"{name} in '{folder}' is {tokenizer.vocabulary}, but {file} names {expected}: {mend}")
    reports.refuse_beyond(text, f"model in '{folder}'")
