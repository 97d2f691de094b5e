"""No downloads while optional code runs: a metric reads local files, or names what is missing."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")


@contextmanager
def offline() -> Iterator[None]:
    """Within it, huggingface_hub and what stands on it (transformers, datasets) raise instead of downloading."""
    from huggingface_hub import constants

    before = {name: os.environ.get(name) for name in VARIABLES}
    stated = constants.HF_HUB_OFFLINE  # read from the environment once, at import
    try:
        os.environ.update(dict.fromkeys(VARIABLES, "1"))
        constants.HF_HUB_OFFLINE = True
        yield
    finally:
        constants.HF_HUB_OFFLINE = stated
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
