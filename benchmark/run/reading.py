"""A checker that remembers what it read from the references, so that the next system's run does not read them again."""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from medim.common.files import hash_of, write_json
from medim.data.dataset import Checker
from medim.perception.array import image_key


class RememberingChecker:
    """Answers for the references from a file, once one run has asked for all of them; reads everything else.

    Args:
        checker: reads.
        references: images or reports of the cases; only what was read from these is kept.
        folder: where; the file is named by the checker's hash and the references'.
    """

    def __init__(self, checker: Checker, references: Sequence[Image.Image] | Sequence[str], folder: Path) -> None:
        self.checker = checker
        self.name, self.fingerprint, self.labels = checker.name, checker.fingerprint, checker.labels
        self._references = references
        self._folder = folder
        self._found: dict[str, frozenset[str]] = {}

    def __call__(self, items: Sequence[Image.Image] | Sequence[str]) -> list[frozenset[str]]:
        """The labels present in each item."""
        keys = [_key(item) for item in items]
        if self._wanted.intersection(keys) and not self._found:
            self._found = self._read_file()
        missing = {key: item for key, item in zip(keys, items, strict=True) if key not in self._found}
        read: dict[str, frozenset[str]] = {}
        if missing:
            unread: Any = list(missing.values())  # images or reports, as the checker's own
            read = dict(zip(missing, self.checker(unread), strict=True))
            known = {key: labels for key, labels in read.items() if key in self._wanted}
            if known:
                self._found |= known
                if len(self._found) == len(self._wanted):
                    write_json(self._file, {key: sorted(labels) for key, labels in self._found.items()})
        return [self._found[key] if key in self._found else read[key] for key in keys]

    @cached_property
    def _wanted(self) -> frozenset[str]:
        return frozenset(_key(item) for item in self._references)

    @cached_property
    def _file(self) -> Path:
        return self._folder / f"{self.fingerprint}-{hash_of(sorted(self._wanted))}.json"

    def _read_file(self) -> dict[str, frozenset[str]]:
        if not self._file.is_file():
            return {}
        content = json.loads(self._file.read_text(encoding="utf-8"))
        return {key: frozenset(labels) for key, labels in content.items()}


def _key(item: Image.Image | str) -> str:
    return image_key(item) if isinstance(item, Image.Image) else hashlib.sha256(item.encode("utf-8", "replace")).hexdigest()
