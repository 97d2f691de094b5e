"""What a generator has seen: the same low-data pairs as the downstream model, or more. The two are never mixed.

`budget-matched` is checked against what a training wrote of itself: model and image tokenizer both have to name the low-data
set, by its hash. A language model's pretraining on text is no pair of the set; it stands in the signature.
"""

from pathlib import Path
from typing import Any

from medim.checkpoints import resolve
from medim.common.errors import UserError
from medim.common.files import read_mapping
from tasks.augmentation.settings import REGIMES, AugmentationSettings
from tasks.augmentation.splits import Division


def check_regime(regime: str, model: str, division: Division, settings: AugmentationSettings) -> dict[str, Any]:
    """What the signature holds of the generator's training, JSON-able.

    Raises:
        UserError: an unknown regime; or a generator under `budget-matched` that was trained on anything but the low-data set,
            or whose training is not known; the message names the commands that train one.
    """
    if regime not in REGIMES:
        raise UserError(f"unknown regime '{regime}' (known: {', '.join(REGIMES)})")
    training = _read(model, "training.json")
    learned = {"regime": regime, "trained_on": training.get("data"), "pretrained": training.get("recipe", {}).get("pretrained")}
    if regime == "external-prior":
        return learned
    if settings.min_agreement is not None:
        raise UserError("budget-matched takes no min_agreement: the checker that filters was trained on other cases than these")
    subset = division.subset
    train = (
        f"medim-bench train tokenizer --preset phantom-tiny --data '{subset.name}' --out TOKENIZER; "
        f"medim-bench train model --preset phantom-tiny --data '{subset.name}' --tokenizer TOKENIZER --out MODEL"
    )
    tokenizer = _read(model, "image_tokenizer/image_tokenizer.json").get("training", {}).get("data", {})
    name = f"'{training['data']}' " if "data" in training else "data "
    parts = (("model", training.get("data_fingerprint"), name), ("image tokenizer", tokenizer.get("fingerprint"), "data "))
    for part, fingerprint, seen in parts:
        if fingerprint is None:
            raise UserError(
                f"--model {model}: what its {part} was trained on is not known, so it is not budget-matched: {train}"
            )
        if fingerprint != subset.fingerprint:
            raise UserError(
                f"--model {model}: its {part} was trained on {seen}({fingerprint}), and budget-matched allows the low-data set "
                f"'{subset.name}' ({subset.fingerprint}) alone: give --regime external-prior, or train one: {train}"
            )
    return learned


def _read(model: str, name: str) -> dict[str, Any]:
    """A file of a trained model's folder; nothing of another kind of system, whose training is written nowhere."""
    try:
        path: Path = resolve(model) / name
    except UserError:
        return {}
    return read_mapping(path) if path.is_file() else {}
