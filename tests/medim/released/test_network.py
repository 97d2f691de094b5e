"""The released network's logits, stored from their code on random weights, come out of the import; without a convention not."""

import json

import pytest
import torch
from safetensors.torch import load_file

from medim.common.errors import UserError
from medim.denoiser import MeDiMModel
from medim.model_folder import read_model
from medim.released.network import CONVENTIONS, denoiser_of

LARGEST, FEW = 1e-3, 0.01


@pytest.fixture(scope="module")
def fixture(shared_data):
    folder = shared_data / "fixtures" / "released-medim"
    if not folder.is_dir():
        pytest.skip(f"no folder '{folder}'")
    return (
        load_file(folder / "model.safetensors"),
        load_file(folder / "forward.safetensors"),
        json.loads((folder / "facts.json").read_text()),
    )


@pytest.fixture(scope="module")
def folder(fixture, tmp_path_factory):
    weights, forward, facts = fixture
    model = denoiser_of(
        weights,
        "fixture",
        codes=8192,
        image_length=1024,
        report_length=256,
        before_report=forward["cond"][0].tolist(),
        head_dim=facts["config"]["head_dim"],
    )
    place = tmp_path_factory.mktemp("imported")
    model.save_pretrained(place)
    return place


@torch.no_grad()
def differences(model: MeDiMModel, fixture) -> dict[str, tuple[float, float]]:
    """Of each modality: root mean square error by the logits' deviation, share that differ in half precision, as stored."""
    _, forward, facts = fixture
    layout, text = model.config.layout, model.config.text_vocabulary
    x = forward["xt"].long()
    ids = x[:, 256:]
    tokens = layout.structure[None].clone()
    tokens[:, layout.report] = x[:, :256]
    tokens[:, layout.image] = torch.where(ids == text, layout.vocabulary.mask, ids - text - 1 + layout.vocabulary.image_offset)
    t = (1 - torch.exp(-forward["sigma"])) / (1 - 1e-3)
    hidden = model.hidden(tokens, t[:, None].expand(-1, 2))
    found = {}
    for modality, key in (("image", "image"), ("report", "text")):
        where = torch.arange(layout.length)[layout.of(modality)][facts[f"{key}_positions"]]
        ours, theirs = model.logits(hidden[0, where], modality), forward[f"{key}_logits"].float()
        error = (ours - theirs).square().mean().sqrt() / theirs.std()
        found[modality] = float(error), float((ours.half() != theirs.half()).float().mean())
    return found


def test_both_sets_of_logits_agree(folder, fixture):
    for error, share in differences(read_model(folder, torch.float32), fixture).values():
        assert error < LARGEST
        assert share < FEW


@pytest.mark.parametrize("left_out", ["logit shift", "sigma time", "hidden padding", "gate", "size text"])
def test_without_a_convention_they_do_not(left_out, folder, fixture, monkeypatch):
    model = read_model(folder, torch.float32)
    if left_out == "logit shift":
        model.config.logit_alignment = "own"
    elif left_out == "sigma time":
        features = model.time.features
        monkeypatch.setattr(model.time, "features", lambda t: features(torch.zeros_like(t)))
    elif left_out == "hidden padding":
        model.config.hidden_padding = None
    elif left_out == "gate":
        for block in model.backbone.adaln:
            block.gating = "zero"
    else:
        model.config.before_report[-1] += 1
    for error, share in differences(model, fixture).values():
        assert error > LARGEST or share > 5 * FEW


def test_the_conventions_are_written_down(folder):
    config = json.loads((folder / "config.json").read_text())
    assert {name: config[name] for name in CONVENTIONS} == CONVENTIONS
    assert len(config["before_report"]) == 17
    assert config["after_report"] == [32002]


@pytest.mark.parametrize(
    ("break_", "message"),
    [
        (lambda w: w.pop("model.norm.weight"), r"1 of \d+ tensors are missing \(model\.norm\.weight\)"),
        (lambda w: w.update({"model.extra.weight": torch.ones(2)}), r"1 have no place in the model \(model\.extra\.weight\)"),
        (
            lambda w: w.update({"model.layers.1.adaLN_modulation.bias": torch.ones(5)}),
            r"another shape .* model\.layers\.1\.adaLN_modulation\.bias: \(5,\) in the file, \(384,\)",
        ),
        (lambda w: w.pop("model.embed_tokens.weight"), r"no matrix model\.embed_tokens\.weight: is it"),
        (lambda w: w.update({"lm_head.weight": torch.ones(40196, 64)}), r"lm_head\.weight is not model\.embed_tokens\.weight"),
        (lambda w: w.update({"model.norm.weight": torch.ones(64).int()}), r"1 of \d+ tensors are integers or of 8 bits"),
        (lambda w: w["model.norm.weight"].fill_(torch.nan), r"backbone\.decoder\.norm\.weight holds NaN"),
    ],
)
def test_what_has_no_place_is_named(break_, message, fixture):
    weights = {name: value.clone() for name, value in fixture[0].items()}
    break_(weights)
    sizes = {"codes": 8192, "image_length": 1024, "report_length": 256, "before_report": []}
    with pytest.raises(UserError, match=f"^fixture: .*{message}"):
        denoiser_of(weights, "fixture", **sizes, head_dim=16)
    with pytest.raises(UserError, match=r"q_proj\.weight has 64 rows, no multiple of 256 .*: give --head-dim"):
        denoiser_of(fixture[0], "fixture", **sizes)
