"""A checkpoint of the released layout becomes an ordinary model folder, which generates."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from medim.common.errors import UserError
from medim.pipeline import MeDiMPipeline
from medim.released import SIZE
from medim.released.importing import import_released
from tests.medim.released.layout import (
    CODES,
    WORDS,
    released_tensors,
    write_all,
    write_checkpoint,
)

LENGTH = 24


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return write_all(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def imported(sources, tmp_path_factory):
    out = tmp_path_factory.mktemp("models") / "released"
    checkpoint, tokenizer, vqgan = sources
    import_released(checkpoint, str(tokenizer), vqgan, out, head_dim=16, report_length=LENGTH)
    return out


@pytest.fixture(scope="module")
def pipeline(imported):
    return MeDiMPipeline.from_pretrained(imported, "cpu")


def test_it_generates(pipeline):
    pipeline.configure({"released.steps": 4})
    (image,) = pipeline.generate_images(["The heart is enlarged."], seeds=[1])
    assert image.size == (32, 32)
    (report,) = pipeline.generate_reports([image], seeds=[1])
    assert isinstance(report, str)
    (pair,) = pipeline.generate_pairs(["The image"], seeds=[2])
    assert pair[1].startswith("The image")
    nats = pipeline.log_likelihood([image], ["No effusion."], "report|image", draws=2).nats
    assert torch.isfinite(nats).all()


def test_reports_are_bos_words_and_padding(pipeline):
    reports = pipeline.reports
    words = reports.tokenizer("No effusion.", add_special_tokens=False)["input_ids"]
    (row,) = reports.encode(["No effusion."]).tolist()
    assert row == [1, *words, *[0] * (LENGTH - 1 - len(words))]
    assert reports.lengths(torch.tensor([row])).tolist() == [1 + len(words)]
    assert reports.decode(torch.tensor([row])) == ["No effusion."]
    assert reports.ids("") == []
    assert reports.encode([""])[0].tolist() == [1, *[0] * (LENGTH - 1)]
    assert reports.size == WORDS + 3


def test_the_canvas_is_theirs(pipeline):
    layout = pipeline.model.config.layout
    size = pipeline.reports.ids(SIZE)
    assert layout.image == slice(1, 65)
    assert layout.report == slice(66 + len(size), 66 + len(size) + LENGTH)
    assert layout.structure[66 : layout.report.start].tolist() == size
    assert layout.structure[layout.report.stop :].tolist() == [WORDS + 2]
    assert layout.length == layout.report.stop + 1


def test_rows_go_where_their_ids_went(pipeline):
    table, model = released_tensors()["model.embed_tokens.weight"], pipeline.model
    vocabulary, root = model.config.layout.vocabulary, model.config.backbone["hidden_size"] ** 0.5
    theirs = {vocabulary.mask: WORDS + 3, vocabulary.begin_image: WORDS, vocabulary.end_image: WORDS + 1}
    theirs |= {vocabulary.image_offset + code: WORDS + 4 + code for code in (0, CODES - 1)} | {7: 7, WORDS + 2: WORDS + 2}
    with torch.no_grad():
        for ours, row in theirs.items():
            assert torch.allclose(model.embed(torch.tensor([[ours]]))[0, 0], table[row] * root, atol=1e-5)
        assert torch.equal(model.image_head.weight, table[WORDS + 4 :])


def test_pictures_are_padded_with_their_grey(pipeline):
    wide = Image.new("RGB", (40, 20), (250, 250, 250))
    values = np.asarray(pipeline.images.square(wide))
    assert values[0, 0].tolist() == [122, 116, 104]
    padded = Image.new("RGB", (40, 40), (122, 116, 104))
    padded.paste(wide, (0, 10))
    assert (values == np.asarray(padded.resize((32, 32), Image.Resampling.LANCZOS))).all()
    assert pipeline.settings()["geometry"] == pipeline.geometry.name == "pad-square-122-116-104,lanczos"


@pytest.mark.parametrize("kind", ["sharded", "bin"])
def test_other_files_give_the_same_model(kind, sources, imported, tmp_path):
    checkpoint = write_checkpoint(tmp_path / kind, kind=kind)
    out = tmp_path / "model"
    import_released(checkpoint, str(sources[1]), sources[2], out, head_dim=16, report_length=LENGTH)
    ours, other = load_file(imported / "model.safetensors"), load_file(out / "model.safetensors")
    assert ours.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in ours.items())


def test_a_state_dict_inside_a_file_and_an_empty_folder_behind_a_link_will_do(sources, imported, tmp_path):
    """As the line on a pickled module advises; and as disks are laid out where models are large."""
    (tmp_path / "ckpt").mkdir()
    torch.save({"state_dict": released_tensors(), "step": 3}, tmp_path / "ckpt" / "pytorch_model.bin")
    (tmp_path / "disk").mkdir()
    out = tmp_path / "model"
    out.symlink_to(tmp_path / "disk")
    import_released(tmp_path / "ckpt", str(sources[1]), sources[2], out, head_dim=16, report_length=LENGTH)
    ours, other = load_file(imported / "model.safetensors"), load_file(tmp_path / "disk" / "model.safetensors")
    assert all(torch.equal(value, other[name]) for name, value in ours.items())


def test_a_config_beside_the_weights_names_the_heads(sources, tmp_path):
    checkpoint = write_checkpoint(tmp_path / "ckpt")
    (checkpoint / "config.json").write_text(json.dumps({"head_dim": 8}))
    model = import_released(checkpoint, str(sources[1]), sources[2], tmp_path / "model", report_length=LENGTH)
    assert model.config.backbone["num_attention_heads"] == 4
    (checkpoint / "config.json").write_text(json.dumps({"head_dim": 0}))
    with pytest.raises(UserError, match=r"config\.json': field 'head_dim': a whole number above 0"):
        import_released(checkpoint, str(sources[1]), sources[2], tmp_path / "other", report_length=LENGTH)


def test_what_does_not_fit_is_said_in_one_line(sources, tmp_path):
    checkpoint, tokenizer, vqgan = sources
    options = {"head_dim": 16, "report_length": LENGTH}
    rows = write_checkpoint(tmp_path / "rows", released_tensors(rows=400))
    with pytest.raises(UserError, match=r"rows for 359 text ids beside MASK and 40 image codes, but tokenizer .* has 343 ids"):
        import_released(rows, str(tokenizer), vqgan, tmp_path / "a", **options)
    lacking = released_tensors()
    del lacking["model.layers.1.mlp.up_proj.weight"]
    with pytest.raises(UserError, match=r"1 of \d+ tensors are missing \(model\.layers\.1\.mlp\.up_proj\.weight\)"):
        import_released(write_checkpoint(tmp_path / "lacking", lacking), str(tokenizer), vqgan, tmp_path / "a", **options)
    with pytest.raises(UserError, match=r"image_tokenizer\.json is missing \(a VQGAN has vqgan\.yaml in its place\)"):
        import_released(checkpoint, str(tokenizer), tokenizer, tmp_path / "a", **options)
    with pytest.raises(UserError, match=r"folder '.*nowhere' does not exist"):
        import_released(tmp_path / "nowhere", str(tokenizer), vqgan, tmp_path / "a", **options)
    with pytest.raises(UserError, match="is not empty: choose another"):
        import_released(checkpoint, str(tokenizer), vqgan, tmp_path, **options)
    assert not (tmp_path / "a").exists()
    assert not list(tmp_path.glob(".a.*"))
