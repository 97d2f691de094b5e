from dataclasses import replace

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from medim.common.errors import UserError
from tasks.downstream.llava import PRESETS, LanguageModelTokenizer, Llava, LlavaNetwork
from tasks.downstream.report_models import END

RECIPE = replace(PRESETS["llava-tiny"].recipe, batch_size=16, learning_rate=1e-2, visual_learning_rate=1e-2)
SIZES = {"side": 32, "visual_width": 8, "width": 16, "heads": 2, "layers": 1, "threshold": 1, "longest": 24}
SMALL = replace(PRESETS["llava-tiny"], **SIZES, recipe=RECIPE)
WORDS = ["the", "sign", "shows", "amber", "blue", "coral", "dune", "report", "of", "this", "image", "Write", "The", "."]


@pytest.fixture
def language_model(tmp_path):
    """A folder of a causal language model of 20 ids, whose end of text is 1."""
    vocabulary = {word: number for number, word in enumerate(["<unk>", "<end>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", unk_token="<unk>").save_pretrained(tmp_path / "lm")
    config = LlamaConfig(
        vocab_size=20, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, eos_token_id=1
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "lm")
    return tmp_path / "lm"


def test_it_learns_from_scratch_and_is_opened_again(examples, tmp_path):
    model = Llava("small", SMALL, None, "cpu")
    pairs = examples(16)
    fitted = model.fit(pairs, pairs, steps=150, seed=0, out=tmp_path, evaluate_every=50)
    images = [pair.image for pair in pairs]
    reports = fitted.generate_reports(images, seeds=[0] * 16)
    assert sum(report == pair.report.lower() for report, pair in zip(reports, pairs, strict=True)) >= 12
    assert model.open(tmp_path).generate_reports(images, seeds=[0] * 16) == reports


def test_a_language_model_in_a_folder_brings_its_own_words(examples, language_model, tmp_path):
    model = Llava("small", SMALL, str(language_model), "cpu")
    assert model.network({}).prompt.tolist() == [13, 2, 9, 10, 11, 12, 15]
    fitted = model.fit(examples(4), examples(2), steps=1, seed=0, out=tmp_path / "out")
    assert fitted.tokenizer.encode(["The sign shows blue ."]).tolist() == [[15, 4, 5, 7, 16, END]]
    assert fitted.tokenizer.decode([15, 4, 5]) == "The sign shows"
    start = fitted.settings()["model"]["language_model"]
    (language_model / "config.json").write_text((language_model / "config.json").read_text() + "\n")
    assert Llava("small", SMALL, str(language_model), "cpu").describe()["language_model"] != start


def test_a_long_report_keeps_its_beginning(language_model):
    from transformers import AutoTokenizer

    tokenizer = LanguageModelTokenizer(AutoTokenizer.from_pretrained(language_model), 3)
    assert tokenizer.encode(["blue blue blue blue", "blue"]).tolist() == [[7, 7, 7], [7, END, END]]


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Llava("small", SMALL, None, "cpu").build(9).eval()


def test_one_beam_writes_the_most_likely_token_each_time_and_never_unk(network):
    network.preset = replace(SMALL, beams=1, longest=6)
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        for parameter in network.language_model.model.layers.parameters():
            parameter.mul_(20)
        written = network.write(images)
        expected = [[] for _ in images]
        for row, image in zip(expected, images[:, None], strict=True):
            while len(row) < 6:
                rows = network.rows(image, torch.tensor([[END, *row]]))
                logits = network.ours(network.language_model(inputs_embeds=rows).logits[0, -1])
                logits[8] = float("-inf")  # <unk>
                if (token := int(logits.argmax())) == END:
                    break
                row.append(token)
    assert written == expected
    assert any(written)


def test_ids_and_the_end_are_the_language_models(network):
    embed = network.language_model.get_input_embeddings()
    rows = network.rows(torch.randn(1, 3, 32, 32), torch.tensor([[END, 1, 8]]))
    assert rows[0, -3:].equal(embed(torch.tensor([8, 0, 7])))
    logits = network.ours(torch.arange(9.0)[None])
    assert logits[0].tolist() == [8, 0, 1, 2, 3, 4, 5, 6, 7, float("-inf")]


def test_the_loss_sees_image_and_text(network):
    targets = torch.tensor([[3, 4, 0, 0], [5, 6, 7, 0]])
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        total, count = network.loss(images, targets)
        assert count == 7
        assert not torch.allclose(network.loss(-images, targets)[0], total, atol=1e-4)


def test_a_frozen_extractor_is_not_trained(network):
    frozen = LlavaNetwork(replace(SMALL, frozen=True), network.language_model, 8, [], None)
    assert not any(parameter.requires_grad for parameter in frozen.visual.parameters())
    assert all(parameter.requires_grad for parameter in network.visual.parameters())


def test_no_language_model_there(examples, tmp_path):
    model = Llava("small", SMALL, str(tmp_path / "none"), "cpu")
    with pytest.raises(UserError, match="does not exist"):
        model.fit(examples(4), examples(2), steps=1, seed=0, out=tmp_path / "out")
