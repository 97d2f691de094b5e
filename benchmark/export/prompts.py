"""Prompts from a file of templates: every value of every placeholder equally often, whichever slots are looked at."""

import math
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medim.common.declared import read_yaml
from medim.common.errors import UserError, unknown
from medim.common.files import hash_of

TEMPLATES = "templates"


@dataclass(frozen=True)
class Prompts:
    """The prompt of each slot of an export, a function of the slot alone.

    Template k mod T serves slot k. Its placeholders run through their values side by side, shifted once all that lies between
    two equal combinations has been seen: any run of slots has each value equally often but one, and a run as long as the
    product of the lists has every combination once.

    Attributes:
        templates: texts with `{name}` placeholders.
        values: by placeholder, in a shuffled order.
        fingerprint: hash of the file's content and the seed; empty for no prompts.
    """

    templates: tuple[str, ...] = ("",)
    values: Mapping[str, tuple[str, ...]] | None = None
    fingerprint: str = ""

    def __getitem__(self, slot: int) -> str:
        """The prompt of a slot (from 0)."""
        turn, number = divmod(slot, len(self.templates))
        template = self.templates[number]
        names = _placeholders(template)
        lists = [(self.values or {})[name] for name in names]
        digits = diagonal(turn, [len(values) for values in lists])
        chosen = {name: values[digit] for name, values, digit in zip(names, lists, digits, strict=True)}
        return template.format_map(chosen)

    @classmethod
    def read(cls, path: Path, seed: int = 0) -> "Prompts":
        """The prompts of a YAML file: `templates`, a list of texts, and one list of texts for each placeholder.

        Raises:
            UserError: the file cannot be read, or a template names a placeholder that has no list.
        """
        try:
            content = read_yaml(path.read_bytes(), str(path))
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from None
        if not isinstance(content, dict) or TEMPLATES not in content:
            raise UserError(f"{path}: needs 'templates', a list of texts such as 'A {{modality}} of the {{region}}'")
        lists = {str(key): _texts(path, str(key), value) for key, value in content.items()}
        templates = lists.pop(TEMPLATES)
        used: set[str] = set()
        for template in templates:
            for name in _placeholders(template, path):
                if name not in lists:
                    raise UserError(f"{path}: template {template!r}: {unknown('placeholder', name, lists)}")
                used.add(name)
        if idle := sorted(set(lists) - used):
            raise UserError(f"{path}: no template uses {{{idle[0]}}}")
        values = {name: _shuffled(lists[name], [seed, number]) for number, name in enumerate(sorted(lists))}
        return cls(tuple(templates), values, hash_of([templates, lists, seed]))


def diagonal(number: int, sizes: Sequence[int]) -> list[int]:
    """Digits d_i in [0, sizes[i]) of a number: each digit cycles, and the product of the sizes covers every combination.

    >>> [diagonal(number, [2, 2]) for number in range(4)]
    [[0, 0], [1, 1], [0, 1], [1, 0]]
    """
    number %= math.prod(sizes)
    digits, period = [], 1
    for size in sizes:
        shift = number % (period * size) // math.lcm(period, size)  # what stands before repeats after `period`
        digits.append((number + shift) % size)
        period *= size
    return digits


def _placeholders(template: str, path: Path | None = None) -> list[str]:
    try:
        fields = [(name, spec, conversion) for _, name, spec, conversion in string.Formatter().parse(template)]
    except ValueError as error:
        raise UserError(f"{path}: template {template!r}: {error}") from None
    names = [name for name, spec, conversion in fields if name is not None]
    if any(name is not None and (not name.isidentifier() or spec or conversion) for name, spec, conversion in fields):
        raise UserError(f"{path}: template {template!r}: a placeholder is a plain name in braces")
    return list(dict.fromkeys(names))


def _texts(path: Path, key: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise UserError(f"{path}: field '{key}' must be a list of texts that is not empty")
    if len(set(value)) < len(value):
        raise UserError(f"{path}: field '{key}' names a text twice")
    return value


def _shuffled(values: Sequence[str], seed: Sequence[int]) -> tuple[str, ...]:
    order = np.random.default_rng(list(seed)).permutation(len(values))
    return tuple(values[index] for index in order)
