"""Where a model's files are: shipped with the package, in a folder, or on the hub."""

import re
from pathlib import Path

from medim.common.errors import UserError, unknown

SHIPPED = Path(__file__).parent
_LOCAL = (".", "/", "runs/", "weights/")


def shipped() -> dict[str, Path]:
    """Presets whose weights are part of the package."""
    return {path.parent.name: path.parent for path in SHIPPED.glob("*/config.json")}


def names_a_folder(name: str) -> bool:
    """Whether this can only be a path, existing or not, and no hub id `owner/name`."""
    return name.startswith(_LOCAL) or name.count("/") != 1


def resolve(name: str, part: str | None = None) -> Path:
    """The folder of a model (`part` None) or of one of its tokenizers.
    `name`: a preset with shipped weights, a folder, or a hub id (with `HF_HUB_OFFLINE=1` from the hub's cache alone).
    Raises UserError: no such preset, folder or hub id, or a file is missing in it."""
    known = shipped()
    if name in known:
        folder = known[name]
    elif Path(name).is_dir():
        folder = Path(name)
    elif not names_a_folder(name) and re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name):
        folder = _download(name)
    elif "/" in name or name.startswith("."):
        raise UserError(f"folder '{name}' does not exist")
    else:
        raise UserError(f"{unknown('model', name, known)}; or give a folder or a hub id")
    if part is not None and (folder / part).is_dir():
        folder = folder / part
    if part == "image_tokenizer" and (folder / "vqgan.yaml").is_file():  # of taming-transformers
        return folder
    if not (folder / "config.json").exists():
        from medim.weights.files import refuse_adapter  # lazy: start-up

        refuse_adapter(folder)
        raise UserError(f"'{folder}' holds no model: config.json is missing (a training that has not ended has none)")
    if not any(folder.glob("*.safetensors")):
        raise UserError(f"'{folder}' holds no weights: a .safetensors file is missing")
    return folder


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.txt"]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"'{name}' is no folder here, and as a hub id it cannot be had: {reason}") from error
