"""Shipped weights, by preset name."""

from pathlib import Path

from medim.errors import UserError, unknown

SHIPPED = Path(__file__).parent


def shipped() -> dict[str, Path]:
    """Presets whose weights are part of the package."""
    return {path.parent.name: path.parent for path in SHIPPED.glob("*/config.json")}


def resolve(name: str, part: str | None = None) -> Path:
    """The folder of a model (`part` None) or of one of its tokenizers, by preset name or path.

    Raises:
        UserError: no such preset or folder, or a folder without weights; the message says which file is missing.
    """
    known = shipped()
    if name in known:
        folder = known[name]
    elif Path(name).is_dir():
        folder = Path(name)
    elif "/" in name or name.startswith("."):
        raise UserError(f"folder '{name}' does not exist")
    else:
        raise UserError(f"{unknown('model', name, known)}; or give a folder")
    if part is not None and (folder / part).is_dir():
        folder = folder / part
    if not (folder / "config.json").exists():
        raise UserError(f"'{folder}' holds no model: config.json is missing (a training that has not ended has none)")
    if not any(folder.glob("*.safetensors")):
        raise UserError(f"'{folder}' holds no weights: a .safetensors file is missing")
    return folder
