from dataclasses import replace

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from medim.common.errors import UserError
from tasks.downstream.llava import PRESETS, LanguageModelTokenizer, Llava, LlavaNetwork, Writing, _small
from tasks.downstream.words import END

SMALL = replace(
    PRESETS["llava-tiny"], side=32, visual_width=8, width=16, heads=2, layers=1, threshold=1, longest=24,
    recipe=replace(PRESETS["llava-tiny"].recipe, batch_size=16, learning_rate=1e-2, visual_learning_rate=1e-2),
)  # fmt: skip
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
    return LlavaNetwork(SMALL, _small(SMALL, 9), end=8, prompt=[2, 5], unknown=8).eval()


def test_a_token_at_a_time_gives_what_all_at_once_gives(network):
    images, ids = torch.randn(3, 3, 32, 32), torch.randint(1, 8, (3, 6))
    ids[:, 0] = END
    with torch.no_grad():
        rows = torch.cat([network.prefix(images), network.language_model.get_input_embeddings()(network.own(ids))], 1)
        expected = network._ours(network.language_model(inputs_embeds=rows).logits[:, -6:])
        expected[..., 8] = float("-inf")
        writing = Writing(network, images)
        for place in range(6):
            assert torch.allclose(writing.step(ids[:, place]), expected[:, place].log_softmax(-1), atol=1e-4)
            if place == 2:
                order = torch.tensor([1, 1, 0])
                writing.select(order)
                ids, expected = ids[order], expected[order]


def test_ids_and_the_end_are_the_language_models(network):
    assert network.own(torch.tensor([END, 1, 8])).tolist() == [8, 0, 7]
    logits = network._ours(torch.arange(9.0)[None])
    assert logits[0].tolist() == [8, 0, 1, 2, 3, 4, 5, 6, 7, float("-inf")]


def test_the_loss_sees_image_and_text(network):
    targets = torch.tensor([[3, 4, 0, 0], [5, 6, 7, 0]])
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        total, count = network.loss(images, targets)
        assert count == 7
        assert not torch.allclose(network.loss(-images, targets)[0], total, atol=1e-4)


def test_a_frozen_extractor_is_not_trained(network):
    frozen = LlavaNetwork(replace(SMALL, frozen=True), _small(SMALL, 9), 8, [], None)
    assert not any(parameter.requires_grad for parameter in frozen.visual.parameters())
    assert all(parameter.requires_grad for parameter in network.visual.parameters())


def test_no_language_model_there(examples, tmp_path):
    model = Llava("small", SMALL, str(tmp_path / "none"), "cpu")
    with pytest.raises(UserError, match="does not exist"):
        model.fit(examples(4), examples(2), steps=1, seed=0, out=tmp_path / "out")
