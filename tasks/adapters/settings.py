"""Settings of an adapter, as `--set key=value` gives them."""

from collections.abc import Mapping
from typing import Any

from medim.common.errors import UserError, unknown

_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def read_settings(given: Mapping[str, str], defaults: Mapping[str, Any], system: str) -> dict[str, Any]:
    """The defaults, with what is given in their place, read as the defaults' types; a default of None takes text.

    Raises:
        UserError: an unknown key (the nearest is named), or a value of another type.
    """
    settings = dict(defaults)
    for key, text in given.items():
        if key not in defaults:
            raise unknown(f"setting of {system}", key, defaults)
        settings[key] = _read(key, text, defaults[key], system)
    return settings


def _read(key: str, text: str, default: Any, system: str) -> Any:
    if isinstance(default, bool):
        if text.lower() not in _WORDS:
            raise UserError(f"--set {key}={text}: {system} takes true or false here")
        return _WORDS[text.lower()]
    if isinstance(default, int | float):
        try:
            value = type(default)(text)
        except ValueError:
            kind = "a whole number" if isinstance(default, int) else "a number"
            raise UserError(f"--set {key}={text}: {system} takes {kind} here") from None
        if value < 0:
            raise UserError(f"--set {key}={text}: {system} takes no negative number here")
        return value
    return text
