"""What a generator has seen: the same low-data pairs as the downstream model, or more. The two are never mixed.

`budget-matched` is checked against what a training wrote of itself: model and image tokenizer both have to name the low-data
set, by its hash. A language model's pretraining on text is no pair of the set; it stands in the signature.
"""

from pathlib import Path
from typing import Any

from medim.checkpoints import resolve
from medim.common.errors import UserError
from medim.common.files import read_mapping
from tasks.augmentation.settings import REGIMES, AugmentationSettings, Regime
from tasks.augmentation.splits import Division


def check_regime(regime: str, model: str, division: Division, settings: AugmentationSettings) -> dict[str, Any]:
    """What the signature says of the generator's training, JSON-able.

    Raises:
        UserError: an unknown regime; or a generator under `budget-matched` that was trained on anything but the low-data set,
            or whose training is not known; the message says how to train one.
    """
    if regime not in REGIMES:
        raise UserError(f"unknown regime '{regime}' (known: {', '.join(REGIMES)})")
    chosen: Regime = "budget-matched" if regime == "budget-matched" else "external-prior"
    found = _training(model)
    told = {"regime": chosen, "trained_on": found.get("data"), "pretrained": found.get("recipe", {}).get("pretrained")}
    if chosen == "external-prior":
        return told
    subset = division.subset
    train = (
        f"medim-bench train tokenizer --preset phantom-tiny --data '{subset.name}' --out TOKENIZER; "
        f"medim-bench train model --preset phantom-tiny --data '{subset.name}' --tokenizer TOKENIZER --out MODEL"
    )
    if settings.min_agreement is not None:
        raise UserError("budget-matched takes no min_agreement: the checker that filters was trained on other cases than these")
    parts = {"model": found.get("data_fingerprint"), "image tokenizer": _tokenizer(model)}
    names = {"model": found.get("data"), "image tokenizer": None}
    for part, fingerprint in parts.items():
        if fingerprint is None:
            raise UserError(
                f"--model {model}: what its {part} was trained on is not known, so it is not budget-matched: {train}"
            )
        if fingerprint != subset.fingerprint:
            seen = f"'{names[part]}' " if names[part] else "data "
            raise UserError(
                f"--model {model}: its {part} was trained on {seen}({fingerprint}), and budget-matched allows the low-data set "
                f"'{subset.name}' ({subset.fingerprint}) alone: give --regime external-prior, or train one: {train}"
            )
    return told


def _training(model: str) -> dict[str, Any]:
    folder = _folder(model)
    return {} if folder is None else _read(folder / "training.json")


def _tokenizer(model: str) -> str | None:
    folder = _folder(model)
    if folder is None:
        return None
    found = _read(folder / "image_tokenizer" / "image_tokenizer.json").get("training", {}).get("data", {}).get("fingerprint")
    return None if found is None else str(found)


def _folder(model: str) -> Path | None:
    """The folder of a trained model; None for a system of another kind."""
    try:
        return resolve(model)
    except UserError:  # an adapter, a baseline or another package's generator: what it learned from is not written anywhere
        return None


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    return read_mapping(path)
