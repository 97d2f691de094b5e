"""The readers that are tried: where a mutant is put, what reads it, and how what was read is held against what it says."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from benchmark.suites import parse_suite
from leaderboard.record import parse_record, read_records
from leaderboard.store import read_manifest
from medim.backbones.build import config_of
from medim.data.folder import FolderDataset
from medim.denoiser import MODEL_KEYS, MeDiMConfig, MeDiMModel
from medim.errors import UserError
from medim.pair import SPLITS
from medim.pipeline import MeDiMPipeline
from medim.sampling.settings import SamplerSettings
from medim.tokenizers.image import ImageTokenizer
from medim.tokenizers.report import ReportTokenizer
from medim.training.recipe import ModelRecipe
from medim.training.recipe_file import load_recipe
from medim.training.tokenizer_recipe import TokenizerRecipe
from tasks.adapters.predictions_file import read_predictions

BACKBONE = {
    "model_type": "llama", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 2, "vocab_size": 300, "tie_word_embeddings": True, "max_position_embeddings": 64,
    "rms_norm_eps": 1e-6, "initializer_range": 0.02, "attention_bias": False,
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """One kind of file.

    Attributes:
        file: its path within the folder of the target.
        base: what it says before it is mutated, one value a line.
        read: reads the folder, or raises the project's error for users' mistakes.
        wrong: given what was read, the folder and the values of the file, where the two differ; None where nowhere.
    """

    name: str
    file: str
    base: list[Any]
    read: Callable[[Path], Any]
    wrong: Callable[[Any, Path, list[Any]], str | None]
    yaml: bool = False

    def stated(self, data: bytes) -> list[Any]:
        """The values that a strict reader finds in the file; a ValueError where it finds none."""
        text = data.decode("utf-8-sig")
        if self.yaml:
            return [_strict_yaml(text)]
        whole = len(self.base) == 1 and not self.file.endswith("l")
        lines = [text] if whole else [line for line in text.split("\n") if line.strip()]
        return [json.loads(line, object_pairs_hook=_once, parse_constant=_no_constant) for line in lines]


def targets(folder: Path) -> list[Target]:
    """All of them, with what surrounds the files in folders of their own."""
    for name in ("pairs", "predictions"):
        (folder / name / "images").mkdir(parents=True)
        for index in range(4):
            Image.new("RGB", (8, 8), (60 * index, 0, 0)).save(folder / name / "images" / f"{index}.png")
    for name in ("records", "manifest", "recipe", "tokenizer-recipe", "suite"):
        (folder / name).mkdir()
    config = _model(folder / "config")
    (folder / "sampler").mkdir()
    sampler = json.loads((folder / "config/sampler.json").read_text())
    rows = [
        {"id": f"s{index}", "image": f"images/{index}.png", "report": f"it is {index}.", "split": SPLITS[index % 3],
         "patient": f"p{index}", "study": f"t{index}", "view": "PA", "domain": "squares", "terms": "CC0-1.0", "findings": ["x"],
         "sections": {"findings": "a"}, "age": 61}
        for index in range(4)
    ]  # fmt: skip
    recipe = {
        "backbone": {**BACKBONE, "vocab_size": 300}, "pretrained": False, "layers": 1, "image_tokenizer": "tokenizer",
        "report_vocabulary": 300, "report_length": 16, "attention": "causal", "min_snr": 5.0, "mixture": {"joint": 1.0},
        "image_weight": 1.0, "learning_rate": 0.001, "adam_beta2": 0.99, "warmup_steps": 2, "max_steps": 8, "bf16": False,
        "per_device_train_batch_size": 4, "logging_steps": 2, "eval_steps": 4, "save_steps": 4, "seed": 1, "ema_decay": 0.9,
    }  # fmt: skip
    tokenizer = {
        "resolution": 16, "downsampling": 4, "codes": 8, "channels": [8, 8, 8], "latent_channels": 4, "steps": 20, "attention": True,
        "learning_rate": 0.001, "l1_weight": 1.0, "codebook_decay": 0.99, "restart_until": 0.8, "seed": 0, "weights": "float16",
    }  # fmt: skip
    suite = {
        "title": "One line", "model": "phantom-tiny", "data": ["phantom", "phantom-v2"], "split": "test", "tasks": ["image-generation"],
        "limit": 8, "seed": 0, "batch_size": 4, "resolution": 64, "protocol": "strict-v1", "features": ["efficientnet-lite0"],
        "out": "runs/x", "set": {"sampling.image.steps": "4"},
    }  # fmt: skip
    return [
        Target("pairs.jsonl", "pairs/pairs.jsonl", rows, _read_pairs, _wrong_pairs),
        Target("predictions.jsonl", "predictions/predictions.jsonl", [{k: row[k] for k in ("id", "image", "report")} for row in rows],
               lambda place: read_predictions(place), _wrong_predictions),
        Target("records.jsonl", "records/records.jsonl", _records(), lambda place: read_records(place / "records.jsonl"), _wrong_records),
        Target("manifest.json", "manifest/manifest.json", [_manifest()], lambda place: read_manifest(place / "manifest.json"), _wrong_fields),
        Target("recipe", "recipe/recipe.yaml", [recipe], lambda place: load_recipe(ModelRecipe, place / "recipe.yaml", ""), _wrong_fields, True),
        Target("tokenizer recipe", "tokenizer-recipe/recipe.yaml", [tokenizer],
               lambda place: load_recipe(TokenizerRecipe, place / "recipe.yaml", "-tokenizer"), _wrong_fields, True),
        Target("config.json", "config/config.json", [config], lambda place: MeDiMPipeline.from_pretrained(place, "cpu"), _wrong_config),
        Target("sampler.json", "sampler/sampler.json", [sampler], lambda place: SamplerSettings.read(place / "sampler.json"), _wrong_sampler),
        Target("suite", "suite/suite.yaml", [suite], _read_suite, _wrong_fields, True),
    ]  # fmt: skip


# --- what surrounds the files ------------------------------------------------------------------------------------------------


def _model(folder: Path) -> dict[str, Any]:
    """A model of random weights; returns its configuration as it stands in the file."""
    images = ImageTokenizer.build(16, 4, 8, channels=(8, 8, 8), latent_channels=4)
    reports = ReportTokenizer.train(["it is red.", "it is blue."], 300, 8)
    backbone = {**BACKBONE, "vocab_size": reports.size}
    model = MeDiMModel(
        MeDiMConfig(backbone=backbone, text_vocabulary=reports.size, image_codes=8, image_length=16, report_length=8)
    )
    MeDiMPipeline(model, images, reports, SamplerSettings(), "fuzz", "0").save_pretrained(folder)
    return json.loads((folder / "config.json").read_text())


def _records() -> list[Any]:
    base = {
        "task": "report-generation", "model": "m", "dataset": "d", "split": "test", "metric": "BLEU-4", "value": 0.25, "ci_low": 0.125,
        "ci_high": 0.5, "n": 4, "coverage": 1.0, "seed": 0, "protocol": "strict-v1", "signature": {"metric": "BLEU-4", "n": 4},
        "kind": "measured", "commit": "0", "command": "x", "created": "2026-01-01T00:00:00+00:00", "reason": None,
        "higher_is_better": True, "synthetic": False, "run": "ab12",
    }  # fmt: skip
    return [base, {**base, "metric": "CIDEr", "value": None, "ci_low": None, "ci_high": None, "reason": "too few"}]


def _manifest() -> dict[str, Any]:
    return {
        "run": "ab12", "model": "m", "model_fingerprint": "f", "dataset": "d", "dataset_fingerprint": "e", "split": "test",
        "synthetic": False, "terms": "CC0-1.0", "withhold_samples": False, "tasks": ["report-generation"], "command": "x", "commit": None,
        "created": "2026-01-01T00:00:00+00:00", "versions": {"torch": "2"}, "settings": {"seed": 0}, "n": 4, "failures": 0,
    }  # fmt: skip


# --- reading, and holding against what is stated -------------------------------------------------------------------------------


def _read_pairs(place: Path) -> Any:
    data = FolderDataset(place)
    return {split: [data.pair(split, index) for index in range(data.size(split))] for split in SPLITS}, data.fingerprint


def _wrong_pairs(read: Any, place: Path, stated: list[Any]) -> str | None:
    if len({row["id"] for row in stated}) < len(stated):
        return "an id twice"
    for split in SPLITS:
        rows = [row for row in stated if row["split"] == split]
        if len(rows) != len(read[0][split]):
            return f"{len(read[0][split])} pairs of {split}, stated {len(rows)}"
        for row, pair in zip(rows, read[0][split], strict=True):
            study = row.get("study") or row["id"]
            told = (pair.id, pair.report, pair.split, pair.study, pair.patient, pair.view, pair.domain, pair.terms)
            want = (
                row["id"],
                row["report"],
                split,
                study,
                row.get("patient") or study,
                row.get("view"),
                row.get("domain"),
                row.get("terms"),
            )
            findings = None if pair.findings is None else list(pair.findings)
            if difference := _differs(list(want), list(told)) or _differs(row.get("findings"), findings, "findings"):
                return difference
            if difference := _differs(row.get("sections") or {}, dict(pair.sections), "sections"):
                return difference
            if not pair.image.resolve().is_relative_to(place.resolve()):
                return f"image {pair.image} leaves the folder"
    return None


def _wrong_predictions(read: Any, place: Path, stated: list[Any]) -> str | None:
    told = [(line.id, line.image and str(line.image), line.report) for line in read]
    want = [(row["id"], row.get("image") and str((place / row["image"]).resolve()), row.get("report")) for row in stated]
    if len({row["id"] for row in stated}) < len(stated):
        return "an id twice"
    return _differs([list(row) for row in want], [list(row) for row in told])


def _wrong_records(read: Any, place: Path, stated: list[Any]) -> str | None:
    told = [json.loads(record.to_line()) for record in read]
    if len(told) != len(stated):
        return f"{len(told)} records of {len(stated)} lines"
    for row, record in zip(stated, read, strict=True):
        if parse_record(record.to_line(), "again") != record:
            return "written and read again it is another"
        if difference := _differs(row, {key: json.loads(record.to_line())[key] for key in row}):
            return difference
    return None


def _read_suite(place: Path) -> Any:
    try:
        text = (place / "suite.yaml").read_text(encoding="utf-8")
    except UnicodeDecodeError as error:  # a shipped file is not
        raise UserError(str(error)) from None
    return parse_suite(text, "suite.yaml")


def _wrong_fields(read: Any, place: Path, stated: list[Any]) -> str | None:
    told = json.loads(read.model_dump_json())
    return _differs({key: value for key, value in stated[0].items() if key != "extends"}, told)


def _wrong_config(read: Any, place: Path, stated: list[Any]) -> str | None:
    config, values = read.model.config, stated[0]
    if difference := _differs(
        {key: values[key] for key in MODEL_KEYS if key in values}, {key: getattr(config, key) for key in MODEL_KEYS}
    ):
        return difference
    if any(not parameter.isfinite().all() for parameter in read.model.parameters()):
        return "weights that are not finite"
    backbone = config_of(values["backbone"]).to_dict()
    return _differs({k: v for k, v in values["backbone"].items() if k in BACKBONE}, backbone, "backbone")


def _wrong_sampler(read: Any, place: Path, stated: list[Any]) -> str | None:
    return _differs(stated[0], read.to_dict())


def _differs(stated: Any, told: Any, place: str = "") -> str | None:
    """Where `told` is not what is stated: of the same kind, and equal; a whole number may stand for a fraction."""
    if isinstance(stated, Mapping):
        if not isinstance(told, Mapping):
            return f"{place}: {told!r:.60} for {stated!r:.60}"
        pairs = ((key, value) for key, value in stated.items())
        return next((d for k, v in pairs if (d := _differs(v, told.get(k, "nothing"), f"{place}.{k}"))), None)
    if isinstance(stated, list):
        if not isinstance(told, list) or len(told) != len(stated):
            return f"{place}: {told!r:.60} for {stated!r:.60}"
        return next(
            (d for n, (a, b) in enumerate(zip(stated, told, strict=True)) if (d := _differs(a, b, f"{place}[{n}]"))), None
        )
    widened = type(stated) is int and type(told) is float and told == stated
    same = widened or (type(stated) is type(told) and stated == told)
    return None if same else f"{place}: {told!r:.60} for {stated!r:.60}"


def _once(items: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(items)) < len(items):
        raise ValueError("a key twice")
    return dict(items)


def _no_constant(name: str) -> Any:
    raise ValueError(name)


class _Strict(yaml.SafeLoader):
    """Refuses a key that stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if len({str(key) for key in keys}) < len(keys):
            raise ValueError("a key twice")
        return super().construct_mapping(node, deep=deep)


def _strict_yaml(text: str) -> Any:
    try:
        return yaml.load(text, _Strict)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
