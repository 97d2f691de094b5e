"""No test reaches the network; fixtures that several packages share."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from medim.pair import ImageReportPair

_OFFLINE = Path(__file__).parent / "offline"


def _refused() -> ModuleType:
    """Binds this process, and through PYTHONPATH those that it starts, such as workers of xdist: these are bound already."""
    bound = sys.modules.get("sitecustomize")
    if bound is not None and bound.__file__ == str(_OFFLINE / "sitecustomize.py"):
        sys.modules["medim_tests_offline"] = bound
        return bound
    spec = importlib.util.spec_from_file_location("medim_tests_offline", _OFFLINE / "sitecustomize.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_OFFLINE), os.environ.get("PYTHONPATH")]))
    return module


OFFLINE = _refused()  # before any test module is imported: an import may not reach for the network either


@pytest.fixture(autouse=True)
def no_network() -> Iterator[list[str]]:
    """Fails a test that reached beyond this machine, also where the code under test took the refusal in its stride."""
    OFFLINE.ATTEMPTS.clear()
    yield OFFLINE.ATTEMPTS
    assert not OFFLINE.ATTEMPTS, f"the test reached for the network: {OFFLINE.ATTEMPTS}"


@pytest.fixture(autouse=True)
def limit_of_pictures() -> Iterator[None]:
    """Gives Pillow its limit back, which reading an image sets from the environment."""
    before = Image.MAX_IMAGE_PIXELS
    yield
    Image.MAX_IMAGE_PIXELS = before


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data: MEDIM_SHARED_DATA, or shared/data beside the repository. Skips where it is missing."""
    beside = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("MEDIM_SHARED_DATA") or beside)
    if not folder.is_dir():
        pytest.skip(f"the real data is not here: no folder '{folder}' (MEDIM_SHARED_DATA names another)")
    return folder


# A tiny world for models: coloured squares with reports, an untrained tokenizer, a recipe of 20,000 parameters.
COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200), "grey": (120, 120, 120)}


class Squares:
    """Each image is one colour; the report names it."""

    name, fingerprint, synthetic, terms, domains = "squares", "squares-1", True, "CC0-1.0", ("squares",)

    def size(self, split: str) -> int:
        return {"train": 32, "val": 8, "test": 8}[split]

    def pair(self, split: str, index: int) -> ImageReportPair:
        colour = list(COLOURS)[index % 4]
        name = f"{split}-{index}"
        image = Image.new("RGB", (16, 16), COLOURS[colour])
        report = f"the square is {colour}. no circle."
        return ImageReportPair(name, image, report, split, study=name, patient=name, domain="squares")

    def image_checker(self) -> None:
        return None

    def report_checker(self) -> None:
        return None


RECIPE = """
backbone: {model_type: llama, hidden_size: 32, intermediate_size: 48, num_hidden_layers: 2, num_attention_heads: 2,
           num_key_value_heads: 2, tie_word_embeddings: true}
pretrained: false
image_tokenizer: %s
report_vocabulary: 300
report_length: 16
mixture: {joint: 1, image-given: 1, report-given: 1, prompted: 1}
learning_rate: 3.0e-3
warmup_steps: 2
max_steps: 8
per_device_train_batch_size: 4
logging_steps: 2
eval_steps: 4
save_steps: 4
eval_pairs: 8
eval_draws: 2
"""


@pytest.fixture(scope="session")
def squares() -> Squares:
    return Squares()


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory) -> Path:
    from medim.tokenizers.image import ImageTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    ImageTokenizer.build(16, 4, 8, channels=(8, 8, 8), latent_channels=4).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def recipe_file(tmp_path_factory, tokenizer_folder) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    path.write_text(RECIPE % tokenizer_folder, encoding="utf-8")
    return path
