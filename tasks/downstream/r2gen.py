"""R2Gen as a downstream model: the paper's configuration, and one for small pictures on a CPU."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medim.common.errors import UserError, unknown
from tasks.adapters.adapter import folder_fingerprint
from tasks.downstream.fitting import Recipe
from tasks.downstream.r2gen_network import R2GenNetwork, Shape
from tasks.downstream.report_model import ReportModel
from tasks.downstream.visual import open_visual


@dataclass(frozen=True)
class Preset:
    """A configuration of R2Gen.

    Attributes:
        side: of the images in pixels.
        visual: `efficientnet-lite0`, or `convolutions` from scratch, `visual_width` wide.
        threshold: occurrences of a word that is known.
    """

    side: int
    visual: str
    visual_width: int
    threshold: int
    shape: Shape
    recipe: Recipe


PRESETS = {
    "r2gen": Preset(
        side=224,
        visual="efficientnet-lite0",
        visual_width=0,
        threshold=3,
        shape=Shape(),
        recipe=Recipe(
            batch_size=16,
            learning_rate=1e-4,
            visual_learning_rate=5e-5,
            weight_decay=5e-5,
            optimizer="amsgrad",
            schedule="step",
            clip=("value", 0.1),
            autocast=False,
        ),
    ),
    "r2gen-tiny": Preset(
        side=64,
        visual="convolutions",
        visual_width=16,
        threshold=3,
        shape=Shape(width=64, layers=2, heads=4, dropout=0.0, visual_dropout=0.0, places=64, longest=128, pair_loss=0.02),
        recipe=Recipe(learning_rate=2e-3, visual_learning_rate=2e-3),
    ),
}
"""`r2gen` has the paper's sizes and optimiser; its words keep their punctuation, and no image is mirrored or cropped."""


class R2Gen(ReportModel):
    """R2Gen (Chen et al. 2020, arXiv 2010.16056).

    Args:
        resnet: folder of a transformers ResNet, such as the paper's ResNet-101, in place of the preset's visual extractor.

    Raises:
        UserError: the folder holds no ResNet.
    """

    def __init__(self, name: str, preset: Preset, resnet: str | None, device: str) -> None:
        super().__init__(name, preset.side, preset.recipe, device, preset.threshold, preset.shape.longest)
        self.preset, self.resnet = preset, resnet

    @classmethod
    def of(cls, name: str, argument: str | None, device: str) -> "R2Gen":
        """The preset of a name; `argument`, for `r2gen` alone, is the folder of a ResNet."""
        if name not in PRESETS:
            raise unknown("preset of R2Gen", name, PRESETS)
        if argument is not None and name != "r2gen":
            raise UserError(f"downstream model '{name}' takes no argument, not '{argument}'")
        return cls(name, PRESETS[name], argument, device)

    def describe(self) -> dict[str, Any]:
        visual = self.preset.visual if self.resnet is None else f"resnet {folder_fingerprint(Path(self.resnet))}"
        return {
            "architecture": "R2Gen", "visual": visual, "visual_width": self.preset.visual_width,
            "threshold": self.threshold, **asdict(self.preset.shape),
        }  # fmt: skip

    def build(self, size: int) -> R2GenNetwork:
        return R2GenNetwork(self.preset.shape, open_visual(self.preset.visual, self.preset.visual_width, self.resnet), size)
