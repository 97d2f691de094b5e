"""Reads findings from pictures of phantom version 2, at 64 px and above: the network's plan and the checkers' class."""

from typing import ClassVar

from medim.data.image_checker import FindingNet, ImageChecker
from medim.data.phantom.v2.names import LABELS


class PhantomV2Net(FindingNet):
    """Reads 128 px, to which 64 px are enlarged; width 16 gives 0.58 M parameters."""

    side: ClassVar[int] = 128
    plan: ClassVar[tuple[tuple[int, int, int], ...]] = (
        (1, 5, 2),  # (B, width, 64, 64)
        (2, 3, 2),  # (B, 2 width, 32, 32)
        (4, 3, 1),
        (4, 3, 2),  # (B, 4 width, 16, 16)
        (8, 3, 1),
        (8, 3, 2),  # (B, 8 width, 8, 8)
        (8, 3, 1),
    )


class PhantomV2ImageChecker(ImageChecker):
    """Image -> findings of phantom version 2; its accuracy is told at 64 and at 128 px, its name by its card."""

    labels: ClassVar[tuple[str, ...]] = LABELS
    net: ClassVar[type[FindingNet]] = PhantomV2Net
    training: ClassVar[str] = "python -m medim.data.phantom.v2.reading.image_checker_training"
    fields: ClassVar[tuple[str, ...]] = ("name", *ImageChecker.fields)
