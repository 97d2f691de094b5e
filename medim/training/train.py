"""`medim-bench train model`: a recipe and a data set in, a folder that `from_pretrained` reads out."""

import time
import warnings
from contextlib import nullcontext
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import PretrainedConfig

from medim.backbones.build import config_of, matched, refuse_unread
from medim.backbones.causal_lm import cut_config, load_config, load_tokenizer
from medim.canvas import Layout
from medim.checkpoints import names_a_folder, resolve
from medim.common.errors import UserError
from medim.common.files import write_json, writes_into
from medim.common.locks import held
from medim.data.dataset import PairDataset, pairs
from medim.data.tokens.ahead import TokensAhead
from medim.data.tokens.cache import TokenSplit, rows_of, tokenise_split, unigram_nats
from medim.denoiser import MeDiMConfig, MeDiMModel
from medim.devices import can_compile, chosen_device
from medim.pipeline import MeDiMPipeline
from medim.sampling.settings import SamplerSettings
from medim.tokenizers.image import ImageTokenizer
from medim.tokenizers.report import ReportTokenizer
from medim.training.as_causal_lm import check_image_ids, reason_against, write_causal_lm
from medim.training.callbacks import plot_curve
from medim.training.draws import rows_needed, weighted_rows
from medim.training.folder import claim, refuse_another
from medim.training.recipe import ModelRecipe, load_recipe, presets
from medim.training.trainer import fit

BPE_REPORTS = 8192  # reports that a new BPE is trained on
DONE = "training.json"
PATIENCE = timedelta(days=7)  # how long processes wait for each other while one tokenises


def train_model(
    preset: str,
    dataset: PairDataset,
    out: Path,
    *,
    tokenizer: str | None = None,
    steps: int | None = None,
    overrides: tuple[str, ...] = (),
    overwrite: bool = False,
    device: str | None = None,
    workers: int = 0,
) -> Path:
    """Trains a model, or resumes a training that was interrupted.

    Images are tokenised ahead of the steps that need them; `cache/` keeps the tokens.

    Args:
        preset: a shipped recipe or the path of a YAML file.
        out: `config.yaml`, `metrics.jsonl`, `curve.png`, `checkpoint-N` while training, and at the end the model.
        tokenizer: folder of an image tokenizer, or the name of a shipped one; the recipe's where None.
        steps: in place of the recipe's `max_steps`.
        overwrite: start anew in a folder that holds another training.
        workers: processes that read pairs while images are tokenised; 0 reads in a thread.

    Returns:
        `out`, in the form that `MeDiMPipeline.from_pretrained` reads.

    Raises:
        UserError: a mistake in the recipe, the data, the device or the folder, or another process at work in it.
        KeyboardInterrupt: Ctrl-C, after a checkpoint was saved.
    """
    extra = [f"image_tokenizer={tokenizer}"] * (tokenizer is not None) + [f"max_steps={steps}"] * (steps is not None)
    recipe = load_recipe(ModelRecipe, preset, "", [*overrides, *extra])
    if recipe.image_tokenizer is None:
        raise UserError(
            f"preset '{preset}' names no image tokenizer: train one on your images (medim-bench train tokenizer) and give "
            "--tokenizer DIR"
        )
    check_backbone(recipe)
    started = time.time()
    torch.manual_seed(recipe.seed)
    place = chosen_device(device)
    state = PartialState(cpu=place.type == "cpu", timeout=PATIENCE)
    is_main, processes = state.is_main_process, state.num_processes  # now: the Trainer builds another state
    if state.use_distributed:  # the launcher decides
        place = state.device
    if recipe.torch_compile and is_main and not can_compile(place):
        warnings.warn("no compiler is found: torch_compile is passed over, and steps take longer", stacklevel=2)
    with held(out) if is_main else nullcontext(), writes_into(out):  # the main process holds it for all
        images = ImageTokenizer.from_pretrained(resolve(recipe.image_tokenizer, "image_tokenizer"))
        images.to(place)
        check_image_ids(recipe, images)
        reports = report_tokenizer(recipe, dataset)
        configuration = {
            "recipe": recipe.model_dump(),
            "data": dataset.name,
            "data_fingerprint": dataset.fingerprint,
            "image_tokenizer_fingerprint": images.fingerprint,
        }
        if not overwrite:
            refuse_another(out, configuration)
        done = (out / DONE).exists() and any(out.glob("*.safetensors"))
        # Before the folder is claimed: a model that cannot be built claims none.
        model = None if done and not overwrite else build(recipe, images, reports)
        with state.main_process_first():  # the others find the folder claimed and the tokens cached
            claim(out, configuration, overwrite and is_main)
            if model is None:
                return out
            cache = out / "cache"
            validation = tokenise_split(dataset, "val", images, reports, cache, recipe.eval_pairs, workers=workers)
        count = rows_of(dataset, "train", recipe.train_limit)
        rows = weighted_rows(dataset, count, recipe.seed)
        order = rows_needed(count, recipe.draws(processes), recipe.seed, rows)
        with TokensAhead(dataset, "train", images, reports, cache, count, order, is_main, workers) as train:
            if is_main:
                describe(model, train.known(), count, reports)
            result, gathered = fit(model, recipe, train, validation, reports, out, device, rows)
            seen = train.finish() if is_main else None
        if gathered is not None:
            model = build(recipe, images, reports)
            model.load_state_dict(gathered)
        if seen is None:
            return out
        floor = unigram_nats(seen, validation, reports)
        plot_curve(out / "metrics.jsonl", floor, out / "curve.png")
        save(model, images, reports, out)
        write_json(  # last: where it is, all is
            out / DONE,
            {
                "preset": preset,
                "recipe": {**recipe.model_dump(), "pretrained": recipe.starts_pretrained},  # then `build` has read every tensor
                "data": dataset.name,
                "data_fingerprint": dataset.fingerprint,
                "terms": dataset.terms,
                "synthetic": dataset.synthetic,
                "pairs_seen": recipe.draws(processes),
                "unigram_report_nats_per_token": floor,
                "seconds_of_last_sitting": round(time.time() - started, 1),
                **result,
            },
        )
        return out


def check_backbone(recipe: ModelRecipe) -> None:
    """Raises UserError where the backbone is a folder that another preset's training has yet to write."""
    name = recipe.backbone
    if isinstance(name, str) and names_a_folder(name) and not Path(name).exists() and Path(name).name in presets(""):
        raise UserError(
            f"backbone: folder '{name}' does not exist; this trains it: "
            f"medim-bench train model --preset {Path(name).name} --data D --out {name}"
        )


def report_tokenizer(recipe: ModelRecipe, dataset: PairDataset) -> ReportTokenizer:
    """The backbone's tokenizer, or a BPE trained on the first reports of the training split.
    Raises UserError: there is none, or it has ids that the backbone has no embedding rows for."""
    if recipe.report_vocabulary is None:
        if isinstance(recipe.backbone, dict):
            raise UserError("report_vocabulary: a backbone given as a configuration has no tokenizer; give the size of one")
        reports = ReportTokenizer(load_tokenizer(recipe.backbone), recipe.report_length)
    else:
        texts = (pair.report for pair in islice(pairs(dataset, "train", recipe.train_limit), BPE_REPORTS) if pair.report)
        reports = ReportTokenizer.train(texts, recipe.report_vocabulary, recipe.report_length)
    if isinstance(recipe.backbone, str):
        rows = recipe.backbone_image_offset or load_config(recipe.backbone).vocab_size
        reports.refuse_beyond(rows, f"backbone '{recipe.backbone}'")
    return reports


def build(recipe: ModelRecipe, images: ImageTokenizer, reports: ReportTokenizer) -> MeDiMModel:
    """The model at step 0."""
    fields = {**recipe.model_fields_of_config(), "image_codes": images.codes, "image_length": images.length}
    if recipe.starts_pretrained:
        assert isinstance(recipe.backbone, str)
        model = MeDiMModel.from_backbone(recipe.backbone, recipe.layers, recipe.backbone_image_offset, **fields)
        knows_codes = recipe.backbone_image_offset is not None
    else:
        model, knows_codes = MeDiMModel(random_config(recipe, reports.size, fields)), False
    if recipe.graft_codebook and not knows_codes:
        model.graft_codebook(images.codebook.detach().cpu(), torch.Generator().manual_seed(recipe.seed))
    return model


def backbone_config(recipe: ModelRecipe, vocabulary: int, shape: dict | None = None) -> PretrainedConfig:
    """The configuration of the recipe's backbone; arguments as of `random_config`.
    Raises UserError: it is not found, has an unknown field or one of another type, or fewer layers."""
    if shape is None and isinstance(recipe.backbone, str):
        return load_config(recipe.backbone, recipe.layers)
    fields = {**recipe.backbone, "vocab_size": vocabulary} if isinstance(recipe.backbone, dict) and shape is None else shape
    assert fields is not None
    config = config_of(fields)
    refuse_unread(fields, config)
    if recipe.layers is not None:
        cut_config(config, recipe.layers, "the recipe's backbone")
    return config


def random_config(recipe: ModelRecipe, vocabulary: int, fields: dict[str, Any], shape: dict | None = None) -> MeDiMConfig:
    """The configuration of a model from random weights. `vocabulary`: text ids of the reports, where the backbone is given as a
    configuration. `fields`: of `MeDiMConfig`. `shape`: stands for the configuration of a backbone given by name."""
    backbone = backbone_config(recipe, vocabulary, shape)
    text = recipe.backbone_image_offset or backbone.vocab_size

    def whole(backbone: PretrainedConfig) -> MeDiMConfig:
        return MeDiMConfig(backbone=backbone.to_dict(), text_vocabulary=text, **fields)

    if recipe.replaced_by is None:
        return whole(backbone)

    def count(backbone: PretrainedConfig) -> int:
        with torch.device("meta"):
            return sum(p.numel() for p in MeDiMModel(whole(backbone)).parameters())

    target = count(backbone)
    stand_in = matched(recipe.replaced_by, backbone.num_hidden_layers, backbone.vocab_size, target, count)
    found = count(stand_in)
    print(
        f"{recipe.replaced_by} in place of {backbone.model_type}: {stand_in.num_hidden_layers} blocks, width "
        f"{stand_in.hidden_size}, {found:,} parameters for {target:,} ({(found / target - 1) * 100:+.2f} %)"
    )
    return whole(stand_in)


def describe(model: MeDiMModel, known: TokenSplit, count: int, reports: ReportTokenizer) -> None:
    """Prints one line on the model and its `count` pairs, of which `known` are tokenised."""
    layout: Layout = model.config.layout
    used = truncated = 0
    for chunk in known.chunks():
        used += int(reports.lengths(chunk.report[:]).sum())
        truncated += int(chunk.truncated[:].sum())
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    print(
        f"{millions:.1f} M parameters; {count} pairs of {layout.image_length} image and {layout.report_length} report "
        f"tokens (mean {used / len(known):.0f} used); "
        f"{truncated} of {'the first ' * (len(known) < count)}{len(known)} reports do not fit the canvas"
        + (": each keeps its beginning and has no end; --set report_length=N widens it" if truncated else "")
    )


def save(model: MeDiMModel, images: ImageTokenizer, reports: ReportTokenizer, out: Path) -> None:
    """Writes the pipeline with default sampler settings, and a plain causal LM where the model is one."""
    MeDiMPipeline(model.cpu(), images, reports, SamplerSettings(), out.name, "").save_pretrained(out)
    if reason_against(model) is None:
        write_causal_lm(model, images, reports, out)
