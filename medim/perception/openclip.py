"""BiomedCLIP (Zhang et al. 2023, arXiv:2303.00915) from its folder, without open_clip: a vision transformer and BERT, each with
a projection into one space.
The folder holds `open_clip_config.json`, `open_clip_model.safetensors` or `open_clip_pytorch_model.bin`, and the tokenizer."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from medim.common.errors import UserError, foreign, named
from medim.common.files import read_mapping
from medim.perception.hub import IMAGE_EMBEDDING, Encoder
from medim.weights.bert import bert_of
from medim.weights.files import read_tensors
from medim.weights.loading import fill

CONFIG = "open_clip_config.json"
_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_HEAD = 64  # channels of an attention head
_EPS = 1e-6  # of timm's layer norms


class Block(nn.Module):
    """A pre-norm transformer block, with timm's names."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.heads = max(1, width // _HEAD)
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=_EPS), nn.LayerNorm(width, eps=_EPS)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, inner), "fc2": nn.Linear(inner, width)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.attn["qkv"](self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, heads, T, _)
        x = x + self.attn["proj"](F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class Trunk(nn.Module):
    """A vision transformer, with timm's names: (B, 3, side, side) to its class token (B, width)."""

    def __init__(self, side: int, patch: int, width: int, inner: int, layers: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + (side // patch) ** 2, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, stride=patch)})
        self.blocks = nn.Sequential(*(Block(width, inner) for _ in range(layers)))
        self.norm = nn.LayerNorm(width, eps=_EPS)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        patches = self.patch_embed["proj"](images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1) + self.pos_embed
        return self.norm(self.blocks(x))[:, 0]


class VisionTower(nn.Module):
    """A vision transformer and a linear projection: (B, 3, side, side) -> (B, D)."""

    def __init__(self, side: int, patch: int, width: int, inner: int, layers: int, out: int) -> None:
        super().__init__()
        self.trunk = Trunk(side, patch, width, inner, layers)
        self.head = nn.ModuleDict({"proj": nn.Linear(width, out, bias=False)})

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head["proj"](self.trunk(images))


class TextTower(nn.Module):
    """BERT and a projection of its first token by two layers: tokens (B, T) -> (B, D)."""

    def __init__(self, transformer: nn.Module, width: int, inner: int, out: int) -> None:
        super().__init__()
        self.transformer = transformer
        self.proj = nn.Sequential(nn.Linear(width, inner, bias=False), nn.GELU(), nn.Linear(inner, out, bias=False))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        first = self.transformer(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state[:, 0]
        return self.proj(first)


class OpenClipFolder(Encoder):
    """The feature space of the image tower; `text` is the other. `length`: tokens of a text at most. Raises UserError: a file
    is missing, or the folder is of another model than BiomedCLIP's layout."""

    def __init__(self, folder: str | Path) -> None:
        from transformers import AutoTokenizer

        folder = Path(folder)
        config = read_mapping(folder / CONFIG)
        path = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), folder / _WEIGHTS[0])
        what = f"'{path}' is not of BiomedCLIP's layout (a vision transformer of timm and BERT)"
        tensors = read_tensors(path)
        parts = {
            kind: {name.removeprefix(f"{kind}."): value for name, value in tensors.items() if name.startswith(f"{kind}.")}
            for kind in ("visual", "text")
        }
        try:
            sizes, prepared = config["model_cfg"], config["preprocess_cfg"]
            side, length = int(sizes["vision_cfg"]["image_size"]), int(sizes["text_cfg"]["context_length"])
            visual, text = _vision(parts["visual"], side, what), _text(parts["text"], what)
            mean, deviation = prepared["mean"], prepared["std"]
        except KeyError as error:
            raise UserError(f"{what}: {error} is missing") from error
        super().__init__("open-clip", folder.name, visual, _call, IMAGE_EMBEDDING, side, mean, deviation)
        self.length, self.text = length, text.float().requires_grad_(False).eval()
        with foreign(f"the tokenizer of '{folder}' cannot be opened"):
            self.tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)


def _call(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return network(images)


def _vision(tensors: dict[str, torch.Tensor], side: int, what: str) -> VisionTower:
    width, _, patch, _ = tensors["trunk.patch_embed.proj.weight"].shape
    layers = len({name.split(".")[2] for name in tensors if name.startswith("trunk.blocks.")})
    inner, out = len(tensors["trunk.blocks.0.mlp.fc1.weight"]), len(tensors["head.proj.weight"])
    with torch.device("meta"):
        tower = VisionTower(side, patch, width, inner, layers, out)
    fill(tower, tensors, what, assign=True)
    return tower


def _text(tensors: dict[str, torch.Tensor], what: str) -> TextTower:
    prefix = "transformer."
    bert = bert_of({name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}, what)
    (inner, width), out = tensors["proj.0.weight"].shape, len(tensors["proj.2.weight"])
    with torch.device("meta"):
        tower = TextTower(nn.Identity(), width, inner, out)
    with named(what):
        fill(
            tower.proj,
            {name.removeprefix("proj."): value for name, value in tensors.items() if name.startswith("proj.")},
            "text",
            assign=True,
        )
    tower.transformer = bert
    return tower
