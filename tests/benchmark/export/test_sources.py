from collections import Counter
from pathlib import Path

import pytest

from benchmark.export.sources import Prompts, diagonal
from medim.common.errors import UserError

FILE = """
templates: ["A {modality} of the {region} with {condition}.", "{condition} in a {modality}"]
modality: [x-ray, CT]
region: [chest, knee, hip]
condition: [edema, fracture, none, mass]
"""


@pytest.fixture
def prompts(tmp_path: Path) -> Prompts:
    (tmp_path / "prompts.yaml").write_text(FILE)
    return Prompts.read(tmp_path / "prompts.yaml", seed=3)


@pytest.mark.parametrize("sizes", [[2, 3, 4], [4, 4], [2, 4, 8], [1, 5], [6, 4, 9]])
def test_diagonal_covers_every_combination_once(sizes):
    product = 1
    for size in sizes:
        product *= size
    assert len({tuple(diagonal(number, sizes)) for number in range(product)}) == product
    assert diagonal(product, sizes) == diagonal(0, sizes)


def test_any_run_of_slots_is_balanced_in_every_value(prompts):
    texts = [prompts[slot] for slot in range(0, 48, 2)]  # the first template: 2 x 3 x 4 combinations
    assert len(set(texts)) == 24
    for window in (texts[:12], texts[5:17]):
        assert [sum(word in text for text in window) for word in ("x-ray", "CT", "chest", "knee", "hip")] == [6, 6, 4, 4, 4]
    assert set(Counter(prompts[slot] for slot in range(1, 96, 2)).values()) == {6}


def test_no_prompts_are_empty_ones():
    assert [Prompts()[slot] for slot in (0, 7)] == ["", ""]


def test_seed_changes_the_order_and_the_fingerprint(tmp_path, prompts):
    again, other = Prompts.read(tmp_path / "prompts.yaml", 3), Prompts.read(tmp_path / "prompts.yaml", 5)
    assert again == prompts
    assert other.fingerprint != prompts.fingerprint


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("modality: [a]", "needs 'templates'"),
        ("templates: ['{modalty}']\nmodality: [a]", "did you mean 'modality'"),
        ("templates: [a]\nregion: [b]", "no template uses {region}"),
        ("templates: []", "field 'templates' must be a list"),
        ("templates: ['{a.b}']", "plain name in braces"),
        ("templates: ['{a']", "expected '}'"),
        ("templates: [x, x]", "names a text twice"),
        ("templates: [", "broken YAML"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path, text, told):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"p\.yaml") as error:
        Prompts.read(path)
    assert told in str(error.value)
