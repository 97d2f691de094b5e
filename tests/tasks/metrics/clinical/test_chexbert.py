import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from medim.common.errors import UserError
from tasks.metrics.clinical.chexbert import CLASSES, CheXbert
from tasks.metrics.weights import find_weights

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "no", "heart", "lung", "clear", "effusion", ".", "##s"]
CONFIG = BertConfig(
    vocab_size=len(WORDS),
    hidden_size=64,
    num_hidden_layers=2,
    num_attention_heads=1,
    intermediate_size=32,
    max_position_embeddings=40,
)


@pytest.fixture
def folder(tmp_path):
    """A checkpoint of CheXbert's layout, tiny and random."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        bert = BertModel(CONFIG)
        heads = torch.nn.ModuleList(torch.nn.Linear(64, classes) for classes in CLASSES)
    state = {f"module.bert.{name}": value for name, value in bert.state_dict().items()}
    state |= {f"module.linear_heads.{name}": value for name, value in heads.state_dict().items()}
    state["module.bert.embeddings.position_ids"] = torch.arange(40).expand(1, -1)  # as older versions stored it
    torch.save({"model_state_dict": state, "epoch": 1}, tmp_path / "chexbert.pth")
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return tmp_path


def independent(folder, report: str) -> list[int]:
    """The network by hand, one report at a time."""
    state = torch.load(folder / "chexbert.pth", weights_only=True)["model_state_dict"]
    bert = BertModel(CONFIG).eval()
    bert.load_state_dict({k.removeprefix("module.bert."): v for k, v in state.items() if ".bert." in k}, strict=False)
    ids = [2, *(WORDS.index(word) if word in WORDS else 1 for word in report.lower().replace(".", " .").split()), 3]
    with torch.no_grad():
        first = bert(input_ids=torch.tensor([ids])).last_hidden_state[0, 0]
    heads = [(state[f"module.linear_heads.{i}.weight"], state[f"module.linear_heads.{i}.bias"]) for i in range(14)]
    return [int((weight @ first + bias).argmax()) for weight, bias in heads]


def test_codes_are_those_of_the_network(folder):
    labeller = CheXbert(folder)
    reports = ["No effusion.", "heart clear  lung\n clear .", "lung", "no  Effusion."]
    codes = labeller.codes([*reports, None, " "])
    assert codes.dtype == np.int8
    assert codes[:4].tolist() == [independent(folder, report) for report in reports]
    assert codes[0].tolist() == codes[3].tolist()
    assert not codes[4:].any()
    assert len(labeller.fingerprint) == 16


def test_each_text_is_read_once(folder, monkeypatch):
    labeller = CheXbert(folder)
    first = labeller.codes(["no effusion", "lung"])
    monkeypatch.setattr(labeller, "bert", None)
    assert np.array_equal(labeller.codes(["lung", "no effusion", "lung"]), first[[1, 0, 1]])


def test_missing_files_are_named(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"holds no 'chexbert\.pth'"):
        CheXbert(tmp_path)
    for name in ("MEDIM_CHEXBERT", "MEDIM_BENCH_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=r"put 'chexbert\.pth'.*MEDIM_CHEXBERT"):
        find_weights("chexbert")
    monkeypatch.setenv("MEDIM_BENCH_WEIGHTS", str(tmp_path))
    (tmp_path / "chexbert").mkdir()
    with pytest.raises(UserError, match=r"chexbert' holds no 'chexbert\.pth'; source: "):
        find_weights("chexbert")
    for name in ("chexbert.pth", "vocab.txt"):
        (tmp_path / name).touch()
        (tmp_path / "chexbert" / name).touch()
    assert find_weights("chexbert") == tmp_path / "chexbert"
    monkeypatch.setenv("MEDIM_CHEXBERT", str(tmp_path))
    assert find_weights("chexbert") == tmp_path


def test_other_files_are_refused(folder):
    stored = torch.load(folder / "chexbert.pth", weights_only=True)["model_state_dict"]
    torch.save({"model_state_dict": {k: v for k, v in stored.items() if "linear_heads.13" not in k}}, folder / "chexbert.pth")
    with pytest.raises(UserError, match="not of its layout"):
        CheXbert(folder)
    torch.save({"model_state_dict": {k: v for k, v in stored.items() if "layer.1.output" not in k}}, folder / "chexbert.pth")
    with pytest.raises(UserError, match=r"missing \(encoder\.layer\.1\.output"):
        CheXbert(folder)
    torch.save({"model_state_dict": "?"}, folder / "chexbert.pth")
    with pytest.raises(UserError, match="no model_state_dict of tensors"):
        CheXbert(folder)
    (folder / "chexbert.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match="no checkpoint that can be read safely"):
        CheXbert(folder)


def test_numpy_beside_the_tensors_is_no_obstacle(folder):
    codes = CheXbert(folder).codes(["no effusion"])
    stored = torch.load(folder / "chexbert.pth", weights_only=True)
    torch.save({**stored, "best": np.float64(0.8), "epoch": np.int64(3), "f1": {"val": np.float32(1)}}, folder / "chexbert.pth")
    assert np.array_equal(CheXbert(folder).codes(["no effusion"]), codes)
