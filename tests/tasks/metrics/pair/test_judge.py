import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from medim.common.errors import UserError
from tasks.metrics.pair.judge import PROMPT, Judge, parse


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("0.85", 0.85),
        ("0", 0.0),
        ("1", 1.0),
        ("1.0", 1.0),
        (".5", 0.5),
        (" 0.9.\n", 0.9),
        ("**0.75**", 0.75),
        ("Score: 0.9", 0.9),
        ("The final answer is 0.2.", 0.2),
        ("The consistency score is: 0.4", 0.4),
        ("0.6 since the effusion is on the other side", 0.6),
    ],
)
def test_one_plain_number_is_the_answer(answer, number):
    assert parse(answer) == number


@pytest.mark.parametrize(
    "answer",
    [
        "score (0 to 1) is 0.9",
        "10",
        "8/10",
        "85",
        "85%",
        "0.85%",
        "1.5",
        "-0.5",
        "- 0.5",
        "\u22120.5",
        "0,9",
        "0.9/1",
        "0.8-0.9",
        "between 0.8 and 0.9",
        "0.9 out of 1",
        "0.9 as 2 nodules are seen",
        "1e-1",
        "not 0.9",
        "I would say 0.9",
        "about ~0.9",
        "<0.5",
        "Qwen2 says 0.9",
        "\u0660\u066b\u0669",
        "½",
        "one",
        "yes",
        "",
        "0..9",
        "01",
        "1.01",
    ],
)
def test_anything_else_is_refused(answer):
    assert parse(answer) is None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A LLaVA of a few thousand random weights, saved as transformers saves one."""
    folder = tmp_path_factory.mktemp("judge")
    words = ["<unk>", "<s>", "</s>", "<image>", "<pad>", *"0123456789.", "report", ":", "effusion", "left"]
    backend = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, "<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens={"image_token": "<image>"},
    )
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=8
    )
    text = LlamaConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        eos_token_id=2,
        pad_token_id=4,
    )
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(LlavaConfig(vision_config=vision, text_config=text, image_token_index=3))
    model.generation_config.do_sample, model.generation_config.temperature = True, 5.0  # a judge decodes greedily all the same
    model.save_pretrained(folder)
    side = {"height": 16, "width": 16}
    images = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=side)
    template = (
        "{% for message in messages %}{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
    )
    LlavaProcessor(
        images,
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        chat_template=template,
        num_additional_image_tokens=1,
    ).save_pretrained(folder)
    return folder


def test_a_local_chat_model_answers_greedily_and_is_named_by_hash(folder):
    judge = Judge(folder)
    images = [Image.new("RGB", (20, 16), colour) for colour in ("white", "black", "red")]
    verdicts = judge(images, ["left effusion"] * 3)
    assert verdicts == judge(images, ["left effusion"] * 3)  # no sampling
    assert verdicts[1:] == judge(images[1:], ["left effusion"] * 2)  # nor company
    assert all(verdict.score == parse(verdict.answer) for verdict in verdicts)
    assert judge.name == folder.name
    assert judge.fingerprint == Judge(folder).fingerprint
    assert "{report}" in PROMPT


def test_a_judge_is_a_folder_of_a_chat_model(folder, tmp_path):
    with pytest.raises(UserError, match="'org/some-model' is no folder: a judge runs on this machine"):
        Judge("org/some-model")
    with pytest.raises(UserError, match="cannot be loaded"):
        Judge(tmp_path)


def test_without_a_chat_template_there_is_no_judge(folder, tmp_path):
    for path in folder.iterdir():
        if path.name not in ("chat_template.jinja", "chat_template.json"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(UserError, match="has no chat template"):
        Judge(tmp_path)
