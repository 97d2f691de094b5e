"""Tiny pipelines of random weights, saved and loaded by path; nothing is fetched."""

import json
import shutil

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, DDPMPipeline, StableDiffusionPipeline, UNet2DConditionModel, UNet2DModel
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from medim.common.errors import UserError
from tasks import task_named
from tasks.adapters.diffusers_text_to_image import DiffusersTextToImage
from tasks.protocols import Generator, Limited, ModelError

WORDS = ["<s>", "</s>", "<unk>", "effusion", "nodule", "left", "right", "a", "no", "large", "small", "."]


def tokenizer():
    fast = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    fast.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=fast, bos_token="<s>", eos_token="</s>", pad_token="</s>", unk_token="<unk>", model_max_length=8
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A Stable Diffusion pipeline of 16 px."""
    torch.manual_seed(0)
    text = CLIPTextConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=8,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 8),
        layers_per_block=1,
        cross_attention_dim=16,
        norm_num_groups=4,
        attention_head_dim=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
    )
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer(),
        unet=unet,
        scheduler=DDIMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    path = tmp_path_factory.mktemp("models") / "tiny-diffusion"
    pipeline.save_pretrained(path)
    return path


def opened(folder, **overrides):
    return DiffusersTextToImage.from_pretrained(str(folder), "cpu", {"steps": "2", **overrides})


@pytest.fixture(scope="module")
def system(folder):
    return opened(folder)


def test_it_is_a_generator_of_images_alone(system):
    assert isinstance(system, Generator)
    assert isinstance(system, Limited)
    assert system.cannot(task_named("image-generation")) is None
    assert "image-generation alone" in system.cannot(task_named("report-generation"))
    with pytest.raises(UserError, match=r"'tiny-diffusion' cannot generate reports"):
        system.generate_reports([], seeds=[])
    with pytest.raises(UserError, match="cannot generate pairs"):
        system.generate_pairs([""], seeds=[0])


def test_settings_say_all_that_decides_an_image(system):
    settings = system.settings()
    assert json.loads(json.dumps(settings)) == settings
    assert settings == {
        "prompt": "{report}",
        "dtype": "float32",
        "resolution": 16,
        "steps": 2,
        "guidance": 7.5,
        "negative_prompt": "",
        "safety_checker": False,
        "pipeline": "StableDiffusionPipeline",
        "prompt_tokens": 8,
    }
    assert system.resolution == 16


def test_an_image_follows_its_report_and_seed_not_its_batch(system):
    reports = ["a large effusion .", "no nodule .", "a large effusion ."]
    together = system.generate_images(reports, seeds=[1, 2, 3])
    assert {image.size for image in together} == {(16, 16)}
    assert {image.mode for image in together} == {"RGB"}
    alone = [system.generate_images([report], seeds=[seed])[0] for report, seed in zip(reports, [1, 2, 3], strict=True)]
    for one, other in zip(together, alone, strict=True):
        difference = [abs(a - b) for a, b in zip(one.tobytes(), other.tobytes(), strict=True)]
        assert max(difference) <= 1  # batched arithmetic rounds differently
    again = system.generate_images(reports[:1], seeds=[1])[0]
    assert again.tobytes() == alone[0].tobytes()
    assert alone[0].tobytes() != alone[2].tobytes()
    other_report = system.generate_images(["no nodule ."], seeds=[1])[0]
    assert other_report.tobytes() != alone[0].tobytes()


def test_steps_and_guidance_reach_the_pipeline(folder, system):
    base = system.generate_images(["a nodule ."], seeds=[1])[0].tobytes()
    for setting in ({"steps": "3"}, {"guidance": "1.0"}, {"prompt": "left {report}"}, {"negative_prompt": "large"}):
        assert opened(folder, **setting).generate_images(["a nodule ."], seeds=[1])[0].tobytes() != base
    assert opened(folder, resolution="32").generate_images(["a nodule ."], seeds=[1])[0].size == (32, 32)


def test_the_global_random_state_is_left_alone(system):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    system.generate_images(["a nodule ."], seeds=[5])
    assert torch.equal(torch.rand(3), expected)


def test_what_the_safety_checker_flags_is_missing(folder, monkeypatch):
    system = opened(folder)
    call = type(system.pipeline).__call__

    def flagging(self, *arguments, **options):
        output = call(self, *arguments, **options)
        output["nsfw_content_detected"] = [False, True]
        return output

    monkeypatch.setattr(type(system.pipeline), "__call__", flagging)
    first, second = system.generate_images(["a nodule .", "no nodule ."], seeds=[0, 1])
    assert first is not None
    assert second is None


def test_the_fingerprint_follows_the_weights(folder, system, tmp_path):
    assert opened(folder, steps="5").fingerprint == system.fingerprint
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    with torch.no_grad():
        next(pipeline.unet.parameters()).add_(1)
    pipeline.save_pretrained(tmp_path / "changed")
    assert opened(tmp_path / "changed").fingerprint != system.fingerprint


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"step": "3"}, "unknown setting of diffusers pipeline '.*'; did you mean 'steps'"),
        ({"steps": "many"}, "--set steps=many: .* takes a whole number here"),
        ({"prompt": "an x-ray"}, "the template needs {report}"),
        ({"dtype": "float8"}, "--set dtype=float8: one of float32, float16, bfloat16"),
        ({"safety_checker": "maybe"}, "takes true or false here"),
    ],
)
def test_mistakes_in_settings_are_named(folder, overrides, message):
    with pytest.raises(UserError, match=message):
        DiffusersTextToImage.from_pretrained(str(folder), "cpu", overrides)


def test_other_folders_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"diffusers pipeline '.*empty' cannot be loaded"):
        opened(tmp_path / "empty")
    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
    )
    DDPMPipeline(unet, DDIMScheduler()).save_pretrained(tmp_path / "unconditional")
    with pytest.raises(UserError, match=r"\(DDPMPipeline\) takes no prompt: it draws no reports"):
        opened(tmp_path / "unconditional")


def test_a_failure_is_one_line_with_the_likely_option(folder, system, monkeypatch):
    with pytest.raises(
        ModelError, match=r"'tiny-diffusion' failed: .*divisible by 8.*; try another --set resolution=PIXELS than 20"
    ):
        opened(folder, resolution="20").generate_images(["a nodule ."], seeds=[0])

    def fails(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory.\n" + "more\n" * 100)

    monkeypatch.setattr(type(system.pipeline), "__call__", fails)
    with pytest.raises(ModelError, match=r"failed: OutOfMemoryError: CUDA out of memory\.; take --batch-size 1"):
        system.generate_images(["a nodule ."], seeds=[0])


def test_a_single_model_is_no_pipeline(tmp_path):
    CLIPTextModel(
        CLIPTextConfig(vocab_size=12, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    ).save_pretrained(tmp_path / "one")
    with pytest.raises(UserError, match=r"one' cannot be loaded: it is one model, no pipeline; perhaps --model transformers:"):
        opened(tmp_path / "one")


@pytest.mark.parametrize("part", ["unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"])
def test_a_network_of_the_pipeline_gets_every_tensor_or_is_refused(folder, tmp_path, part):
    path = shutil.copytree(folder, tmp_path / "copy") / part
    tensors = load_file(path)
    lost = max(tensors)
    save_file({name: tensor for name, tensor in tensors.items() if name != lost}, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"'.*copy' cannot be loaded: its \w+: 1 of \d+ tensors are missing") as error:
        opened(tmp_path / "copy")
    assert "\n" not in str(error.value)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UserError, match="git lfs pull"):
        opened(tmp_path / "copy")
