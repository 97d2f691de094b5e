"""Small pictures that say what their reports say, and an R2Gen of a few thousand parameters."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tasks.downstream import Example
from tasks.downstream.r2gen import PRESETS, Preset, R2Gen

WORDS = ("amber", "blue", "coral", "dune")


def make_examples(count: int, first: int = 0) -> list[Example]:
    """Example n shows the bits of n as bright quarters and names them."""
    examples = []
    for number in range(first, first + count):
        present = [word for bit, word in enumerate(WORDS) if number >> bit & 1]
        pixels = np.full((32, 32, 3), 30 + number % 7, np.uint8)
        for word in present:
            place = WORDS.index(word)
            pixels[16 * (place // 2) : 16 * (place // 2) + 16, 16 * (place % 2) : 16 * (place % 2) + 16] = 220
        text = f"The sign shows {', '.join(present)}." if present else "There is nothing on the sign; it is empty."
        examples.append(Example(f"e{number}", f"p{number}", Image.fromarray(pixels), text, frozenset(present)))
    return examples


@pytest.fixture
def examples():
    return make_examples


@pytest.fixture
def preset() -> Preset:
    tiny = PRESETS["r2gen-tiny"]
    shape = replace(tiny.shape, width=16, layers=1, heads=2, places=16, longest=24)
    recipe = replace(tiny.recipe, batch_size=8, learning_rate=1e-2, visual_learning_rate=1e-2)
    return replace(tiny, side=32, visual_width=8, threshold=1, shape=shape, recipe=recipe)


@pytest.fixture
def small(preset) -> R2Gen:
    return R2Gen("small", preset, None, "cpu")
