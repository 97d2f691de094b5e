"""An autoregressive model as a plain causal language model: a multimodal prior for another training.
Its vocabulary is the report's ids, then the image codes, then MASK (which opens a sequence), BOI and EOI; Liquid's has the same
form. `transformers` reads the folder, and so does a recipe's `backbone`, with `backbone_image_offset` at code 0."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from medim.backbones.build import SCRATCH, config_of
from medim.backbones.causal_lm import CAUSAL_LM, load_config
from medim.common.errors import UserError
from medim.common.files import share_weights
from medim.denoiser import MeDiMModel, embedding_scale
from medim.tokenizers.image import ImageTokenizer
from medim.tokenizers.report import ReportTokenizer
from medim.training.recipe import ModelRecipe

STRUCTURE = 3  # MASK, BOI, EOI
OFFSET, CODES, TOKENIZER = "image_offset", "image_codes", "image_tokenizer"
"""Keys of config.json: id of image code 0, number of codes, fingerprint of their image tokenizer."""


def reason_against(model: MeDiMModel) -> str | None:
    """Why a model is no plain causal LM; None where it is one."""
    config = model.config
    if config.objective != "autoregressive":
        return f"it was trained with objective={config.objective}, not autoregressive"
    if config.backbone["model_type"] in SCRATCH:
        return f"a {config.backbone['model_type']} is no language model"
    if config.positions != "rotary":
        return f"positions={config.positions} have no place in one: train with positions=rotary"
    return None


@torch.no_grad()
def as_causal_lm(model: MeDiMModel) -> PreTrainedModel:
    """The causal LM, of the backbone's family, whose logits for every token of a sequence are those of `model`.

    A sequence is `MASK BOI image EOI report` or `MASK report BOI image EOI`, and position i predicts token i + 1. The logits
    agree within a modality; the probabilities do not, since the causal LM spreads them over all ids. The head's rows of MASK,
    BOI and EOI, which were never trained, are zero.

    Raises UserError: `reason_against` the model.
    """
    reason = reason_against(model)
    if reason is not None:
        raise UserError(f"it is no causal language model: {reason}")
    text, codes = model.config.text_vocabulary, model.config.image_codes
    config = config_of(model.config.backbone)
    config.vocab_size, config.tie_word_embeddings = text + codes + STRUCTURE, False
    result = AutoModelForCausalLM.from_config(config)
    rows = model.get_input_embeddings().weight
    head = rows if model.report_head is None else model.report_head.weight
    added = model.added.weight / embedding_scale(config)
    weights = {f"model.{name}": tensor for name, tensor in model.backbone.decoder.state_dict().items()}
    weights["model.embed_tokens.weight"] = torch.cat([rows[:text], added[STRUCTURE:], added[:STRUCTURE]])
    weights["lm_head.weight"] = torch.cat([head[:text], model.image_head.weight, torch.zeros_like(added[:STRUCTURE])])
    result.load_state_dict(weights)
    return result.eval()


def write_causal_lm(model: MeDiMModel, images: ImageTokenizer, reports: ReportTokenizer, out: Path) -> Path:
    """Writes it with its report tokenizer to `out`/causal_lm, where the `backbone` of a recipe finds it by `out`."""
    language_model = as_causal_lm(model)
    config = language_model.config
    setattr(config, OFFSET, model.config.text_vocabulary)
    setattr(config, CODES, model.config.image_codes)
    setattr(config, TOKENIZER, images.fingerprint)
    config.bos_token_id = model.config.text_vocabulary + model.config.image_codes
    config.eos_token_id, config.pad_token_id = reports.end, reports.padding
    language_model.generation_config.bos_token_id = config.bos_token_id
    language_model.generation_config.eos_token_id = config.eos_token_id
    language_model.generation_config.pad_token_id = config.pad_token_id
    folder = out / CAUSAL_LM
    folder.mkdir(parents=True, exist_ok=True)
    reports.save_pretrained(folder)
    language_model.save_pretrained(folder)
    share_weights(folder)
    return folder


def check_image_ids(recipe: ModelRecipe, images: ImageTokenizer) -> None:
    """Raises UserError where a pretrained backbone knows image codes of another offset or of another tokenizer."""
    if not isinstance(recipe.backbone, str) or not recipe.starts_pretrained:
        return
    known = load_config(recipe.backbone).to_dict()
    if OFFSET not in known:
        return
    if recipe.backbone_image_offset != known[OFFSET]:
        given = recipe.backbone_image_offset
        raise UserError(
            f"backbone '{recipe.backbone}' knows image codes: set backbone_image_offset={known[OFFSET]}, not {given}"
        )
    if images.fingerprint != known[TOKENIZER]:
        raise UserError(
            f"backbone '{recipe.backbone}' knows the codes of image tokenizer {known[TOKENIZER]}, and this one is "
            f"{images.fingerprint}: give --tokenizer the one that it was trained with"
        )
