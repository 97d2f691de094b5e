"""The readers that are tried: where a mutant is put, what reads it, and how what was read is held against what it says."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from benchmark.run.suites import parse_suite
from leaderboard.record import Record, read_records
from leaderboard.store import read_manifest
from medim.backbones.build import config_of
from medim.common.json_lines import parse_model
from medim.data.sources.folder import FolderDataset
from medim.denoiser import MODEL_KEYS, MeDiMConfig, MeDiMModel
from medim.pair import SPLITS
from medim.pipeline import MeDiMPipeline
from medim.sampling.settings import SamplerSettings
from medim.tokenizers.image import ImageTokenizer
from medim.tokenizers.report import ReportTokenizer
from medim.training.recipe import ModelRecipe, load_recipe
from medim.training.tokenizer.recipe import TokenizerRecipe
from tasks.adapters.predictions_file import read_predictions


@dataclass(frozen=True)
class Target:
    """One kind of file, each in a folder of its own.

    Attributes:
        base: what it says before it is mutated, one value a line.
        read: reads the file, or raises the project's error for users' mistakes.
        wrong: given what was read, the file and the values that it states, where the two differ; None where nowhere.
    """

    file: Path
    base: list[Any]
    read: Callable[[Path], Any]
    wrong: Callable[[Any, Path, list[Any]], str | None]

    @property
    def yaml(self) -> bool:
        return self.file.suffix == ".yaml"

    def stated(self, data: bytes) -> list[Any]:
        """The values that a strict reader finds in the file; a ValueError where it finds none."""
        text = data.decode("utf-8-sig")
        if self.yaml:
            return [_strict_yaml(text)]
        lines = [line for line in re.split("[\r\n]", text) if line.strip()] if self.file.suffix == ".jsonl" else [text]
        return [json.loads(line, object_pairs_hook=_once, parse_constant=_no_constant) for line in lines]


def targets(folder: Path) -> list[Target]:
    """All of them, with what surrounds the files."""
    bases = yaml.safe_load((Path(__file__).parent / "bases.yaml").read_text(encoding="utf-8"))
    model = folder / "config.json"
    _write_model(model, bases["recipe.yaml"][0]["backbone"])
    bases["config.json"] = [json.loads((model / "config.json").read_text())]
    bases["sampler.json"] = [json.loads((model / "sampler.json").read_text())]
    readers: dict[str, tuple[Callable[[Path], Any], Callable[[Any, Path, list[Any]], str | None]]] = {
        "pairs.jsonl": (_read_pairs, _wrong_pairs),
        "predictions.jsonl": (lambda file: read_predictions(file.parent), _wrong_predictions),
        "records.jsonl": (read_records, _wrong_records),
        "manifest.json": (read_manifest, _wrong_fields),
        "recipe.yaml": (lambda file: load_recipe(ModelRecipe, file, ""), _wrong_fields),
        "tokenizer.yaml": (lambda file: load_recipe(TokenizerRecipe, file, "-tokenizer"), _wrong_fields),
        "suite.yaml": (lambda file: parse_suite(file.read_bytes().decode("utf-8", "replace"), file.name), _wrong_fields),
        "config.json": (lambda file: MeDiMPipeline.from_pretrained(file.parent, "cpu"), _wrong_config),
        "sampler.json": (SamplerSettings.read, lambda read, _, stated: _differs(stated[0], read.to_dict())),
    }
    for name in readers:
        (folder / name / "images").mkdir(parents=True, exist_ok=True)
        for index in range(4):
            Image.new("RGB", (8, 8), (60 * index, 0, 0)).save(folder / name / "images" / f"{index}.png")
    return [Target(folder / name / name, bases[name], *both) for name, both in readers.items()]


def _write_model(folder: Path, backbone: dict[str, Any]) -> None:
    """A model of random weights."""
    images = ImageTokenizer.build(16, 4, 8, channels=(8, 8, 8), latent_channels=4)
    reports = ReportTokenizer.train(["it is red.", "it is blue."], 300, 8)
    size = reports.size
    sizes = {"text_vocabulary": size, "image_codes": 8, "image_length": 16, "report_length": 8}
    model = MeDiMModel(MeDiMConfig(backbone={**backbone, "vocab_size": size}, **sizes))
    MeDiMPipeline(model, images, reports, SamplerSettings(), "fuzz", "0").save_pretrained(folder)


def _read_pairs(file: Path) -> Any:
    data = FolderDataset(file.parent)
    return {split: [data.pair(split, index) for index in range(data.size(split))] for split in SPLITS}, data.fingerprint


def _wrong_pairs(read: Any, file: Path, stated: list[Any]) -> str | None:
    if len({row["id"] for row in stated}) < len(stated):
        return "an id twice"
    for split in SPLITS:
        rows = [row for row in stated if row["split"] == split]
        if len(rows) != len(read[0][split]):
            return f"{len(read[0][split])} pairs of {split}, stated {len(rows)}"
        for row, pair in zip(rows, read[0][split], strict=True):
            study = row.get("study") or row["id"]
            want = {**dict.fromkeys(("view", "domain", "terms", "findings")), **row, "study": study}
            want |= {"patient": row.get("patient") or study, "sections": row.get("sections") or {}}
            findings = None if pair.findings is None else list(pair.findings)
            told = {**pair.extra, **vars(pair), "image": row["image"], "findings": findings, "sections": dict(pair.sections)}
            if difference := _differs(want, told):
                return difference
            if not pair.image.resolve().is_relative_to(file.parent.resolve()):
                return f"image {pair.image}, which leaves the folder"
    return None


def _wrong_predictions(read: Any, file: Path, stated: list[Any]) -> str | None:
    told = [[line.id, line.image and str(line.image), line.report] for line in read]
    images = [row.get("image") and str((file.parent / row["image"]).resolve()) for row in stated]
    want = [[row["id"], image, row.get("report")] for row, image in zip(stated, images, strict=True)]
    return "an id twice" if len({row["id"] for row in stated}) < len(stated) else _differs(want, told)


def _wrong_records(read: Any, file: Path, stated: list[Any]) -> str | None:
    if any(parse_model(record.to_line().encode(), Record, "again") != record for record in read):
        return "what is another when it is written and read again"
    return _differs(stated, [json.loads(record.to_line()) for record in read])


def _wrong_fields(read: Any, file: Path, stated: list[Any]) -> str | None:
    return _differs({key: value for key, value in stated[0].items() if key != "extends"}, json.loads(read.model_dump_json()))


def _wrong_config(read: Any, file: Path, stated: list[Any]) -> str | None:
    values, config = stated[0], read.model.config
    backbone = config_of(values["backbone"]).to_dict()
    told = {**{key: getattr(config, key) for key in MODEL_KEYS}, "backbone": {**values["backbone"], **backbone}}
    if any(not parameter.isfinite().all() for parameter in read.model.parameters()):
        return "weights that are not finite"
    return _differs({key: value for key, value in values.items() if key in MODEL_KEYS}, told)


def _differs(stated: Any, told: Any, place: str = "") -> str | None:
    """Where `told` is not what is stated: of the same kind, and equal; a whole number may stand for a fraction."""
    if isinstance(stated, Mapping) and isinstance(told, Mapping):
        found = (_differs(value, told.get(key, "nothing"), f"{place}.{key}") for key, value in stated.items())
        return next(filter(None, found), None)
    if isinstance(stated, list) and isinstance(told, list) and len(stated) == len(told):
        found = (_differs(one, other, place) for one, other in zip(stated, told, strict=True))
        return next(filter(None, found), None)
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
        keys = [str(self.construct_object(key, deep=True)) for key, _ in node.value]
        if len(set(keys)) < len(keys):
            raise ValueError("a key twice")
        return super().construct_mapping(node, deep=deep)


_FRACTION = re.compile(r"[-+]?[0-9.]+[eE][-+]?[0-9]+")  # YAML 1.2; 1.1 takes 1e-6 for a text
_Strict.add_implicit_resolver("tag:yaml.org,2002:float", _FRACTION, list("-+.0123456789"))


def _strict_yaml(text: str) -> Any:
    try:
        return yaml.load(text, _Strict)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
