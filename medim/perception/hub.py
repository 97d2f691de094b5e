"""Feature spaces out of other packages: any vision encoder of transformers, timm, open_clip or TorchXRayVision.
Each is opened by local folder, or by an id that the package itself resolves (and downloads, unless HF_HUB_OFFLINE=1 or the
weights are in its cache). Images come whole and are only resized and normalised: no crop."""

import importlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medim.common.errors import UserError, foreign, one_line
from medim.common.files import hash_of
from medim.perception.preprocess import Frozen, normalised, resize_name, resized, weights_hash
from medim.weights.loading import load

IMAGE_EMBEDDING = "image embedding"  # the layer of a model that joins images and texts in one space


class Encoder(Frozen):
    """A frozen network behind a resize and a normalisation.

    Args:
        kind: the package that it comes from.
        model: how it is called; see `_short`.
        network: its weights in place; converted to float32.
        pool: the network and prepared images (B, 3, side, side) to features (B, D), or maps that are flattened.
        layer: what of the network is the feature, for the fingerprint.
        side: of its input in pixels.
        mean, deviation: by channel, of values in [0, 1].
        unused: tensors of the network that have no part in the feature.

    Attributes:
        embeds: whether the feature is the image embedding of a model that joins images and texts.
    """

    trained_against = False

    def __init__(
        self,
        kind: str,
        model: str,
        network: nn.Module,
        pool: Callable[[nn.Module, torch.Tensor], torch.Tensor],
        layer: str,
        side: int,
        mean: Sequence[float],
        deviation: Sequence[float],
        unused: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.name, self.title, self.embeds = f"{kind}:{model}", model, layer == IMAGE_EMBEDDING
        self.network = network.float().requires_grad_(False).eval()
        self.side, self.mean, self.deviation = side, tuple(mean), tuple(deviation)
        self.resize = resize_name(side)
        self._pool = pool
        described = {"architecture": type(network).__name__, "resize": self.resize, "layer": layer}
        normalisation = {"mean": self.mean, "deviation": self.deviation}
        self.fingerprint = hash_of({"weights": weights_hash(self.network, unused), **described, **normalisation})

    @torch.no_grad()
    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, H, W) in [-1, 1] as features (B, D), float32."""
        prepared = normalised(resized(images.float(), self.side), self.mean, self.deviation)
        features = self._pool(self.network, prepared).flatten(1)
        if features.shape[0] != len(images):
            raise UserError(f"feature space '{self.name}' gave {features.shape[0]} rows for {len(images)} images")
        return features.float()


class TransformersFeatures(Encoder):
    """Any image encoder that transformers' AutoModel opens: ViT, DINOv2 (RAD-DINO), Swin, ConvNeXt, ResNet, CLIP, SigLIP, ...

    The feature is the projected image embedding where the model joins images and texts, else its pooled output where the
    weights hold all that makes it, else the class token (a pooler without weights would be random). Size, mean and deviation
    are those of `preprocessor_config.json`.

    Raises UserError: no such model, no `preprocessor_config.json`, or weights that lack more than a pooler.
    """

    def __init__(self, model: str) -> None:
        from transformers import AutoModel

        side, mean, deviation = image_settings(model, f"feature space 'transformers:{model}'")
        with torch.random.fork_rng(devices=[]):  # what the weights lack is drawn: leave the global generator alone
            network, missing = load(
                AutoModel, model, f"feature space 'transformers:{model}'", lacking=r"(^|\.)pooler\.", without_heads=True
            )
        joint = hasattr(network, "get_image_features")
        layer = IMAGE_EMBEDDING if joint else "class token" if missing else "pooled"
        pool = _embedding if joint else _class_token if missing else _pooled
        super().__init__("transformers", _short(model), network, pool, layer, side, mean, deviation, missing)


def _embedding(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    output = network.get_image_features(pixel_values=images)  # type: ignore[operator]
    return output if isinstance(output, torch.Tensor) else output.pooler_output


def _class_token(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return network(pixel_values=images).last_hidden_state[:, 0]


def _pooled(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    output = network(pixel_values=images)
    pooled = output.get("pooler_output")
    if pooled is not None:
        return pooled
    hidden = output.last_hidden_state
    return hidden[:, 0] if hidden.ndim == 3 else hidden.mean((2, 3))  # tokens (B, T, D), or a map (B, D, H, W)


def image_settings(model: str, what: str) -> tuple[int, Sequence[float], Sequence[float]]:
    """Side, mean and deviation that a transformers model expects.
    Raises UserError: its `preprocessor_config.json` is missing or does not state them; `what` names the model."""
    from transformers.image_processing_base import ImageProcessingMixin

    with foreign(f"{what}: no preprocessor_config.json"):
        settings, _ = ImageProcessingMixin.get_image_processor_dict(model)
    size = settings["crop_size"] if settings.get("do_center_crop") and "crop_size" in settings else settings.get("size")
    sides = [size] if isinstance(size, int) else list((size or {}).values())
    if not sides or len(set(sides)) != 1:
        raise UserError(f"{what}: preprocessor_config.json states no square size: size = {size}")
    if settings.get("do_normalize", True) and not {"image_mean", "image_std"} <= settings.keys():
        raise UserError(f"{what}: preprocessor_config.json states no image_mean or image_std")
    if not settings.get("do_normalize", True):
        return sides[0], (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return sides[0], settings["image_mean"], settings["image_std"]


class TimmFeatures(Encoder):
    """Any model of timm, without its classifier: by name (`vit_base_patch14_dinov2.lvd142m`), by `hf-hub:owner/model` (UNI:
    `hf-hub:MahmoodLab/UNI`), or by a folder with `config.json` and weights.
    Raises UserError: timm is missing, or does not open the model."""

    def __init__(self, model: str) -> None:
        timm = _package("timm", "timm")
        name = f"local-dir:{model}" if Path(model).is_dir() else model
        with _opening(f"timm:{model}"):
            network = timm.create_model(name, pretrained=True)
        network.reset_classifier(0)
        config = timm.data.resolve_model_data_config(network)
        super().__init__(
            "timm", _short(model), network, _call, "pooled", config["input_size"][-1], config["mean"], config["std"]
        )


class OpenClipFeatures(Encoder):
    """The image tower of a model of open_clip, such as `hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224`, or
    `ARCHITECTURE/PRETRAINED`, or `local-dir:FOLDER`. Raises UserError: open_clip is missing, or does not open the model."""

    def __init__(self, model: str) -> None:
        open_clip = _package("open_clip", "open_clip_torch")
        name, _, tag = (model, "", "") if ":" in model else model.partition("/")
        if ":" not in model and not tag:
            raise UserError(f"feature space 'open-clip:{model}' would have random weights: give ARCHITECTURE/PRETRAINED")
        with _opening(f"open-clip:{model}"):
            network = open_clip.create_model(name, pretrained=tag or None)
        config = network.visual.preprocess_cfg
        size = config["size"]
        side = size if isinstance(size, int) else size[0]
        shown = f"{name}/{_short(tag)}" if tag else _short(model)
        super().__init__("open-clip", shown, network.visual, _call, IMAGE_EMBEDDING, side, config["mean"], config["std"])


class TorchXRayVisionFeatures(Encoder):
    """A DenseNet of TorchXRayVision by the name of its weights, such as `densenet121-res224-all`: pooled features of the grey
    image in [-1024, 1024]. Raises UserError: the package is missing, or knows no such weights."""

    def __init__(self, weights: str) -> None:
        models = _package("torchxrayvision", "torchxrayvision").models
        with _opening(f"torchxrayvision:{weights}"):
            network = models.DenseNet(weights=weights)
        # (x - 1/2) * 2048 with x in [0, 1]
        half, scale = (0.5, 0.5, 0.5), (1 / 2048, 1 / 2048, 1 / 2048)
        super().__init__("torchxrayvision", weights, network, _chest, "last features, ReLU, mean", 224, half, scale)


def _short(model: str) -> str:
    """The model's name in columns and signatures: of a path, its last part."""
    path = model.removeprefix("local-dir:")
    return Path(path).name if Path(path).exists() else model


def _call(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return network(images)


def _chest(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    maps = network.features(images.mean(dim=1, keepdim=True))  # type: ignore[operator]
    return torch.relu(maps).mean((2, 3))


def _package(module: str, name: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"this feature space needs the package '{name}': pip install {name} ({one_line(error)})") from error


@contextmanager
def _opening(space: str) -> Iterator[None]:
    """Around a package that opens weights: its errors are lines, and the global generator, from which it draws, is kept."""
    with foreign(f"feature space '{space}' cannot be opened"), torch.random.fork_rng(devices=[]):
        yield
