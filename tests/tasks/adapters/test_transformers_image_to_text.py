"""Tiny models of random weights, saved and loaded by path; nothing is fetched."""

import shutil

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipProcessor,
    CLIPImageProcessor,
    CLIPVisionConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTImageProcessor,
)

from medim.common.errors import UserError
from tasks import task_named
from tasks.adapters.transformers_image_to_text import CHAT_PROMPT, TransformersImageToText
from tasks.protocols import Generator, ModelError

WORDS = [
    "<s>",
    "</s>",
    "<unk>",
    "<image>",
    "effusion",
    "nodule",
    "left",
    "right",
    "heart",
    "normal",
    "large",
    "small",
    "the",
    "is",
    "Write",
    "report",
    "USER",
    "ASSISTANT",
    ":",
]
LAYER = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
PICTURE = {"image_size": 16, "patch_size": 8}
SIZE = {"height": 16, "width": 16}
CHAT = "{% for m in messages %}USER : {% for c in m['content'] %}{% if c['type'] == 'image' %}<image>{% else %} {{ c['text'] }}"
CHAT += "{% endif %}{% endfor %}{% endfor %} ASSISTANT :"


def tokenizer(start: bool = True):
    fast = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if start:
        fast.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    made = PreTrainedTokenizerFast(
        tokenizer_object=fast,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
        unk_token="<unk>",
        cls_token="<s>",
        sep_token="</s>",
    )
    made.add_special_tokens({"additional_special_tokens": ["<image>"]})
    return made


def encoder_decoder(folder):
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        ViTConfig(**LAYER, **PICTURE),
        GPT2Config(vocab_size=len(WORDS), n_embd=16, n_layer=1, n_head=2, n_positions=64, bos_token_id=0, eos_token_id=1),
    )
    model = VisionEncoderDecoderModel(config=config)
    model.config.decoder_start_token_id = model.generation_config.decoder_start_token_id = 0
    model.generation_config.pad_token_id = model.generation_config.eos_token_id = 1
    model.save_pretrained(folder)
    ViTImageProcessor(size=SIZE).save_pretrained(folder)
    tokenizer().save_pretrained(folder)


def blip(folder):
    text = {**LAYER, "vocab_size": len(WORDS), "bos_token_id": 0, "sep_token_id": 1, "eos_token_id": 1, "pad_token_id": 1}
    BlipForConditionalGeneration(
        BlipConfig(
            text_config={**text, "encoder_hidden_size": 16, "max_position_embeddings": 64},
            vision_config={**LAYER, **PICTURE},
            projection_dim=16,
        )
    ).save_pretrained(folder)
    BlipProcessor(BlipImageProcessor(size=SIZE), tokenizer()).save_pretrained(folder)


def llava(folder):
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**LAYER, **PICTURE, projection_dim=16),
        text_config=LlamaConfig(**LAYER, vocab_size=len(WORDS), bos_token_id=0, eos_token_id=1, pad_token_id=1),
        image_token_index=3,
        vision_feature_layer=-1,
        image_seq_length=4,
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    pictures = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=SIZE)
    LlavaProcessor(
        pictures,
        tokenizer(start=False),
        patch_size=8,
        vision_feature_select_strategy="default",
        image_token="<image>",
        num_additional_image_tokens=1,
        chat_template=CHAT,
    ).save_pretrained(folder)


MAKERS = {"encoder-decoder": encoder_decoder, "blip": blip, "llava": llava}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("models")
    for name, make in MAKERS.items():
        make(root / name)
    return root


def opened(folder, **overrides):
    return TransformersImageToText.from_pretrained(str(folder), "cpu", {"max_new_tokens": "6", **overrides})


@pytest.fixture(scope="module")
def systems(folders):
    return {name: opened(folders / name) for name in MAKERS}


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (3, 16, 16, 3), generator=generator, dtype=torch.uint8).numpy()
    return [Image.fromarray(picture) for picture in pixels]


@pytest.mark.parametrize("name", MAKERS)
def test_every_kind_describes_every_image_whatever_its_batch(systems, images, name):
    system = systems[name]
    assert isinstance(system, Generator)
    assert (system.name, system.resolution) == (name, None)
    reports = system.generate_reports(images, seeds=[1, 2, 3])
    assert [system.generate_reports([image], seeds=[9])[0] for image in images] == reports
    assert all(report == report.strip() and set(report.split()) <= set(WORDS) for report in reports)
    assert not any(mark in report for report in reports for mark in ("<s>", "</s>", "<image>"))
    assert system.cannot(task_named("report-generation")) is None
    assert system.cannot(task_named("long-form")) is None
    assert system.cannot(task_named("image-generation")) == "it is a model for report-generation alone"
    with pytest.raises(UserError, match="cannot generate images"):
        system.generate_images(["x"], seeds=[0])


def test_the_report_depends_on_the_image_and_the_prompt(systems, folders):
    """Logits, not words: a random network may well say the same of everything."""
    reader = systems["llava"].reader
    light, dark = (Image.new("RGB", (16, 16), colour) for colour in ("white", "black"))
    inputs = reader.inputs([light, dark], "the heart is")
    assert inputs["input_ids"].shape[0] == 2
    assert (inputs["input_ids"] == 3).sum(dim=1).tolist() == [4, 4]
    text = reader.tokenizer.decode(inputs["input_ids"][0])
    assert text.startswith("USER : <image>")
    assert text.endswith("the heart is ASSISTANT :")
    logits = systems["llava"].model(**inputs).logits[:, -1]
    assert not torch.allclose(logits[0], logits[1])


@pytest.mark.parametrize("name", ["blip", "encoder-decoder"])
def test_a_captioners_prompt_begins_the_text_and_is_no_part_of_the_report(folders, images, name):
    system = opened(folders / name, prompt="the heart is")
    calls = []
    decode = system.reader.tokenizer.decode
    system.reader.tokenizer.decode = lambda tokens, **options: calls.append(decode(tokens, **options)) or calls[-1]
    reports = system.generate_reports(images[:1], seeds=[0])
    assert calls[0].startswith("the heart is")
    assert reports[0] == " ".join(calls[0].split()).removeprefix("the heart is").strip()


def test_sampling_follows_the_seed_and_leaves_the_global_state_alone(folders, images):
    system = opened(folders / "encoder-decoder", sample="true", temperature="3")
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    first = system.generate_reports([images[0]] * 6, seeds=range(6))
    assert torch.equal(torch.rand(2), expected)
    assert len(set(first)) > 1
    assert system.generate_reports([images[0]] * 2, seeds=[4, 5]) == first[4:]


def test_settings_say_how_it_was_asked(systems, folders):
    assert systems["llava"].settings() == {
        "prompt": CHAT_PROMPT,
        "max_new_tokens": 6,
        "beams": 1,
        "sample": False,
        "temperature": 1.0,
        "top_p": 1.0,
        "dtype": "float32",
        "architecture": "LlavaForConditionalGeneration",
        "chat_template": True,
    }
    assert systems["blip"].settings()["prompt"] == ""
    assert len({system.fingerprint for system in systems.values()}) == 3


def test_mistakes_are_named(folders, tmp_path):
    with pytest.raises(UserError, match="did you mean 'beams'"):
        opened(folders / "blip", beam="3")
    with pytest.raises(UserError, match="cannot be loaded"):
        opened(tmp_path)


def test_a_text_too_long_for_the_model_is_told_with_the_option(folders, images):
    system = opened(folders / "encoder-decoder", max_new_tokens="80")
    system.model.generation_config.eos_token_id = None  # goes on to the end of its 64 positions
    with pytest.raises(ModelError) as raised:
        system.generate_reports(images[:1], seeds=[0])
    message = str(raised.value)
    assert message.startswith("'encoder-decoder' failed: ")
    assert message.endswith("; try a --set max_new_tokens below 80, which ends after 64 tokens, prompt and report together")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\nmore"), "CUDA out of memory. .*; take --batch-size 1"),
        (RuntimeError("expected scalar type Half but found Float"), "; try --set dtype=float32"),
        (ValueError("Image features and image tokens do not match: tokens: 0"), "its prompt must hold one image"),
        (KeyError("pixel_values"), "failed: KeyError: 'pixel_values'$"),
        (RuntimeError("odd\n" * 120), "failed: RuntimeError: odd$"),
    ],
)
def test_each_kind_of_failure_is_one_line(folders, images, monkeypatch, error, told):
    system = opened(folders / "blip")

    def fails(**_):
        raise error

    monkeypatch.setattr(system.model, "generate", fails)
    with pytest.raises(ModelError, match=told):
        system.generate_reports(images[:1], seeds=[0])


def test_another_kind_of_model_is_named(folders, tmp_path):
    GPT2LMHeadModel(GPT2Config(vocab_size=19, n_embd=16, n_layer=1, n_head=2)).save_pretrained(tmp_path / "text")
    with pytest.raises(UserError, match=r"text' cannot be loaded: "):
        opened(tmp_path / "text")
    damaged = tmp_path / "damaged"
    shutil.copytree(folders / "blip", damaged)
    (damaged / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(UserError, match=r"damaged' cannot be loaded: "):
        opened(damaged)
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "model_index.json").write_text("{}")
    with pytest.raises(UserError, match="it is a pipeline of diffusers; --model diffusers:"):
        opened(tmp_path / "pipeline")


def test_a_model_gets_every_tensor_or_is_refused(folders, tmp_path):
    for name in MAKERS:
        path = shutil.copytree(folders / name, tmp_path / name) / "model.safetensors"
        save_file({f"module.{key}": tensor for key, tensor in load_file(path).items()}, path, metadata={"format": "pt"})
        with pytest.raises(UserError, match=r"tensors are missing .*a distributed model's") as error:
            opened(tmp_path / name)
        assert "\n" not in str(error.value)
