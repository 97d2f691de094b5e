"""A checkpoint in the layout of taming-transformers, run through the published architecture written out as functions of its
weights, and through the import."""

from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor
from torch.nn import functional as F

from medim.checkpoints import resolve
from medim.common.errors import UserError
from medim.tokenizers import taming
from medim.tokenizers.image import ImageTokenizer
from medim.tokenizers.taming import CHECKPOINT, YAML, diffusers_name

SMALL = {
    "double_z": False,
    "z_channels": 24,
    "resolution": 32,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 32,
    "ch_mult": [1, 1, 2],
    "num_res_blocks": 2,
    "attn_resolutions": [8],
    "dropout": 0.0,
}
PUBLISHED = SMALL | {
    "z_channels": 256,
    "resolution": 512,
    "ch": 128,
    "ch_mult": [1, 1, 2, 2, 4],
    "attn_resolutions": [],
}


def configuration(shape: dict, embed_dim: int = 16, codes: int = 40, target: str = "taming.models.vqgan.VQModel") -> dict:
    loss = {"target": "taming.modules.losses.vqperceptual.VQLPIPSWithDiscriminator", "params": {"disc_start": 0}}
    parameters = {"embed_dim": embed_dim, "n_embed": codes, "ddconfig": shape, "lossconfig": loss}
    return {"model": {"base_learning_rate": 4.5e-6, "target": target, "params": parameters}}


def shapes(shape: dict, embed_dim: int = 16, codes: int = 40) -> dict[str, tuple[int, ...]]:
    """Name and shape of each weight that taming-transformers makes for a `ddconfig`."""
    found: dict[str, tuple[int, ...]] = {}

    def convolution(name, inputs, outputs, kernel=3):
        found[f"{name}.weight"], found[f"{name}.bias"] = (outputs, inputs, kernel, kernel), (outputs,)

    def norm(name, channels):
        found[f"{name}.weight"] = found[f"{name}.bias"] = (channels,)

    def resnet(name, inputs, outputs):
        norm(f"{name}.norm1", inputs)
        convolution(f"{name}.conv1", inputs, outputs)
        norm(f"{name}.norm2", outputs)
        convolution(f"{name}.conv2", outputs, outputs)
        if inputs != outputs:
            convolution(f"{name}.nin_shortcut", inputs, outputs, 1)

    def attention(name, channels):
        norm(f"{name}.norm", channels)
        for part in ("q", "k", "v", "proj_out"):
            convolution(f"{name}.{part}", channels, channels, 1)

    def middle(name, channels):
        resnet(f"{name}.mid.block_1", channels, channels)
        attention(f"{name}.mid.attn_1", channels)
        resnet(f"{name}.mid.block_2", channels, channels)

    widths = [shape["ch"] * multiple for multiple in shape["ch_mult"]]
    last = len(widths) - 1
    convolution("encoder.conv_in", 3, shape["ch"])
    inputs, side = shape["ch"], shape["resolution"]
    for i, width in enumerate(widths):
        for n in range(shape["num_res_blocks"]):
            resnet(f"encoder.down.{i}.block.{n}", inputs, width)
            inputs = width
            if side in shape["attn_resolutions"]:
                attention(f"encoder.down.{i}.attn.{n}", width)
        if i != last:
            convolution(f"encoder.down.{i}.downsample.conv", width, width)
            side //= 2
    middle("encoder", inputs)
    norm("encoder.norm_out", inputs)
    convolution("encoder.conv_out", inputs, shape["z_channels"])
    convolution("decoder.conv_in", shape["z_channels"], inputs)
    middle("decoder", inputs)
    for i in reversed(range(len(widths))):
        for n in range(shape["num_res_blocks"] + 1):
            resnet(f"decoder.up.{i}.block.{n}", inputs, widths[i])
            inputs = widths[i]
            if side in shape["attn_resolutions"]:
                attention(f"decoder.up.{i}.attn.{n}", inputs)
        if i != 0:
            convolution(f"decoder.up.{i}.upsample.conv", inputs, inputs)
            side *= 2
    norm("decoder.norm_out", inputs)
    convolution("decoder.conv_out", inputs, 3)
    convolution("quant_conv", shape["z_channels"], embed_dim, 1)
    convolution("post_quant_conv", embed_dim, shape["z_channels"], 1)
    found["quantize.embedding.weight"] = (codes, embed_dim)
    return found


def random_weights(shape: dict, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, size in shapes(shape).items():
        fan_in = max(1, int(torch.tensor(size[1:]).prod()))
        weights[name] = torch.randn(size, generator=generator) * (0.7 / fan_in**0.5 if len(size) > 1 else 0.2)
        if ".norm" in name and name.endswith("weight"):
            weights[name] = 1 + weights[name]
    weights["quantize.embedding.weight"] = torch.randn(shapes(shape)["quantize.embedding.weight"], generator=generator)
    return weights


class Published:
    """The forward pass of the published code, without its classes."""

    def __init__(self, weights: dict[str, Tensor], shape: dict) -> None:
        self.w, self.shape = weights, shape

    def conv(self, x: Tensor, name: str, **options) -> Tensor:
        weight = self.w[f"{name}.weight"]
        return F.conv2d(x, weight, self.w[f"{name}.bias"], **({"padding": weight.shape[-1] // 2} | options))

    def norm(self, x: Tensor, name: str) -> Tensor:
        return F.group_norm(x, 32, self.w[f"{name}.weight"], self.w[f"{name}.bias"], eps=1e-6)

    def swish(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)

    def resnet(self, x: Tensor, name: str) -> Tensor:
        h = self.conv(self.swish(self.norm(x, f"{name}.norm1")), f"{name}.conv1")
        h = self.conv(self.swish(self.norm(h, f"{name}.norm2")), f"{name}.conv2")
        return h + (self.conv(x, f"{name}.nin_shortcut") if f"{name}.nin_shortcut.weight" in self.w else x)

    def attention(self, x: Tensor, name: str) -> Tensor:
        batch, channels, height, width = x.shape
        h = self.norm(x, f"{name}.norm")
        q, k, v = (self.conv(h, f"{name}.{part}").flatten(2) for part in "qkv")
        weights = (torch.einsum("bci,bcj->bij", q, k) * channels**-0.5).softmax(2)  # over the keys
        h = torch.einsum("bcj,bij->bci", v, weights).view(batch, channels, height, width)
        return x + self.conv(h, f"{name}.proj_out")

    def middle(self, h: Tensor, side: str) -> Tensor:
        h = self.resnet(h, f"{side}.mid.block_1")
        return self.resnet(self.attention(h, f"{side}.mid.attn_1"), f"{side}.mid.block_2")

    def scale(self, h: Tensor, name: str, blocks: int) -> Tensor:
        for n in range(blocks):
            h = self.resnet(h, f"{name}.block.{n}")
            if f"{name}.attn.{n}.q.weight" in self.w:
                h = self.attention(h, f"{name}.attn.{n}")
        return h

    def latents(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, h * w, d)."""
        h, scales = self.conv(images, "encoder.conv_in"), len(self.shape["ch_mult"])
        for i in range(scales):
            h = self.scale(h, f"encoder.down.{i}", self.shape["num_res_blocks"])
            if i != scales - 1:
                h = self.conv(F.pad(h, (0, 1, 0, 1)), f"encoder.down.{i}.downsample.conv", stride=2, padding=0)
        h = self.conv(self.swish(self.norm(self.middle(h, "encoder"), "encoder.norm_out")), "encoder.conv_out")
        return self.conv(h, "quant_conv").permute(0, 2, 3, 1).flatten(1, 2)

    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> indices (B, h * w)."""
        z = self.latents(images)
        return torch.cdist(z, self.w["quantize.embedding.weight"].expand(len(z), -1, -1)).argmin(2)

    def decode(self, tokens: Tensor) -> Tensor:
        """(B, h * w) -> (B, 3, H, W)."""
        side = int(tokens.shape[1] ** 0.5)
        z = self.w["quantize.embedding.weight"][tokens].transpose(1, 2).unflatten(2, (side, side))
        h = self.middle(self.conv(self.conv(z, "post_quant_conv"), "decoder.conv_in"), "decoder")
        for i in reversed(range(len(self.shape["ch_mult"]))):
            h = self.scale(h, f"decoder.up.{i}", self.shape["num_res_blocks"] + 1)
            if i != 0:
                h = self.conv(F.interpolate(h, scale_factor=2.0, mode="nearest"), f"decoder.up.{i}.upsample.conv")
        return self.conv(self.swish(self.norm(h, "decoder.norm_out")), "decoder.conv_out")


def write(folder: Path, weights: dict[str, Tensor], shape: dict = SMALL, **options) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / YAML).write_text(yaml.safe_dump(configuration(shape, **options)))
    training = {"loss.discriminator.main.0.weight": torch.zeros(4, 3, 4, 4), "loss.logvar": torch.zeros(())}
    torch.save({"state_dict": weights | training, "global_step": 7, "epoch": 1}, folder / CHECKPOINT)
    return folder


def load(folder: Path) -> ImageTokenizer:
    return ImageTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return random_weights(SMALL)


@pytest.mark.parametrize("attended", [[], [8], [16, 8]])
def test_it_computes_what_the_published_architecture_computes(tmp_path, attended):
    shape = SMALL | {"attn_resolutions": attended}
    weights = random_weights(shape, seed=len(attended))
    images, others = (torch.rand(2, 3, 3, 32, 32, generator=torch.Generator().manual_seed(5)) * 2 - 1).unbind()
    published = Published(weights, shape)
    weights["quantize.embedding.weight"] = published.latents(others)[0, :40].clone()  # where latents lie, so that many are used
    tokenizer = load(write(tmp_path / "vqgan", weights, shape))
    tokens = tokenizer.encode(images)
    assert tokens.shape == (3, 64)
    assert len(tokens.unique()) > 10  # a constant would be easy to match
    assert torch.equal(tokens, published.encode(images))
    with torch.no_grad():
        raw = tokenizer.model.decode(tokenizer.codebook[tokens].mT.unflatten(2, (8, 8)), force_not_quantize=True).sample
    expected = published.decode(tokens)
    assert expected.std() > 0.1
    assert (raw - expected).abs().max() < 1e-4
    assert (tokenizer.decode(tokens) - expected.clamp(-1, 1)).abs().max() < 1e-4


def test_the_published_geometry_fits_by_name_and_shape():
    parameters = taming._Parameters.model_validate(configuration(PUBLISHED, 256, 8192)["model"]["params"])
    with torch.device("meta"):
        expected = taming.build(parameters).state_dict()
    found = shapes(PUBLISHED, 256, 8192)
    assert {diffusers_name(name, scales=5) for name in found} == expected.keys()
    for name, size in found.items():
        there = tuple(expected[diffusers_name(name, scales=5)].shape)
        assert there == (size if len(there) == len(size) else size[:2])
    tokenizer_side = PUBLISHED["resolution"] // 2 ** (len(PUBLISHED["ch_mult"]) - 1)
    assert tokenizer_side**2 == 1024


def test_a_folder_with_the_two_files_is_a_tokenizer(tmp_path, weights):
    folder = write(tmp_path / "vqgan", weights)
    tokenizer = ImageTokenizer.from_pretrained(folder)
    assert (tokenizer.resolution, tokenizer.downsampling, tokenizer.codes, tokenizer.length) == (32, 4, 40, 64)
    assert tokenizer.codebook.shape == (40, 16)
    assert tokenizer.training["imported"]["files"] == [YAML, CHECKPOINT]
    tokenizer.save_pretrained(tmp_path / "own")
    back = ImageTokenizer.from_pretrained(tmp_path / "own")
    assert back.fingerprint == tokenizer.fingerprint
    assert back.training == tokenizer.training


def test_such_a_folder_can_be_given_wherever_an_image_tokenizer_is(tmp_path, weights):
    folder = write(tmp_path / "vqgan", weights)
    assert resolve(str(folder), "image_tokenizer") == folder
    with pytest.raises(UserError, match=r"config\.json is missing"):
        resolve(str(folder))  # a model it is not


def test_importing_leaves_the_global_generator_alone(tmp_path, weights):
    folder = write(tmp_path / "vqgan", weights)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    load(folder)
    assert torch.equal(torch.rand(2), expected)


def test_a_bare_state_dict_is_read_too(tmp_path, weights):
    folder = write(tmp_path / "vqgan", weights)
    before = load(folder).fingerprint
    torch.save({name: weight.half().float() for name, weight in weights.items()}, folder / CHECKPOINT)
    assert load(folder).fingerprint != before
    torch.save(weights, folder / CHECKPOINT)
    assert load(folder).fingerprint == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda w: w.pop("decoder.up.2.block.1.conv2.bias"),
            r"missing \(decoder\.up_blocks\.0\.resnets\.1\.conv2\.bias\)",
        ),
        (lambda w: w.pop("encoder.mid.attn_1.q.weight"), r"missing \(encoder\.mid_block\.attentions\.0\.to_q\.weight\)"),
        (
            lambda w: w.update({"quantize.embed.weight": torch.zeros(1)}),
            r"1 have no place in the model \(quantize\.embed\.weight\)",
        ),
        (
            lambda w: w.update({"encoder.down.0.attn.0.q.bias": torch.zeros(32)}),
            r"no place in the model \(encoder\.down_blocks\.0\.attentions\.0\.to_q\.bias\)",
        ),
        (lambda w: w.update({"quant_conv.bias": torch.zeros(5)}), r"quant_conv\.bias: \(5,\) in the file, \(16,\) by"),
        (lambda w: w.update({"quantize.embedding.weight": torch.zeros(9, 16)}), r"embedding\.weight: \(9, 16\) in the file"),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path, weights, change, message):
    changed = dict(weights)
    change(changed)
    with pytest.raises(UserError, match=message) as caught:
        load(write(tmp_path / "vqgan", changed))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        (SMALL, {"target": "taming.models.vqgan.GumbelVQ"}, "model.target is GumbelVQ"),
        (SMALL | {"double_z": True}, {}, r"model\.params: field 'ddconfig\.double_z'"),
        (SMALL | {"ch": 20}, {}, r"ddconfig\.ch': .*multiple of 32"),
        ({k: v for k, v in SMALL.items() if k != "ch_mult"}, {}, r"ddconfig\.ch_mult': Field required"),
    ],
)
def test_another_kind_of_model_is_refused(tmp_path, weights, shape, options, message):
    with pytest.raises(UserError, match=message):
        load(write(tmp_path / "vqgan", weights, shape, **options))


class _Callback:
    """A class of the training program, as Lightning pickles them."""


def test_files_that_cannot_be_read_are_named(tmp_path, weights):
    folder = write(tmp_path / "vqgan", weights)
    (folder / YAML).write_text("model: [")
    with pytest.raises(UserError, match=r"vqgan\.yaml': broken YAML"):
        load(folder)
    (folder / YAML).write_text("name: x")
    with pytest.raises(UserError, match=r"has no model\.params"):
        load(folder)
    write(folder, weights)
    torch.save({"state_dict": weights, "callbacks": _Callback}, folder / CHECKPOINT)
    with pytest.raises(UserError, match=r"vqgan\.ckpt' holds more than tensors.*state_dict alone"):
        load(folder)
    torch.save({"state_dict": {"a": 3}}, folder / CHECKPOINT)
    with pytest.raises(UserError, match="holds no state_dict"):
        load(folder)
    write(folder, weights)
    cut = (folder / CHECKPOINT).read_bytes()
    (folder / CHECKPOINT).write_bytes(cut[: len(cut) // 2])
    with pytest.raises(UserError, match=r"vqgan\.ckpt' cannot be read"):
        load(folder)
    (folder / CHECKPOINT).unlink()
    with pytest.raises(UserError, match=r"vqgan\.ckpt' does not exist"):
        ImageTokenizer.from_pretrained(folder)
