"""Reads findings from phantom images: the network's plan and the class of the shipped checkers."""

from typing import ClassVar

from medim.data.image_checker import FindingNet, ImageChecker
from medim.data.phantom.v1.names import LABELS


class PhantomNet(FindingNet):
    """Reads 64 px; width 32 gives 0.43 M parameters."""

    side: ClassVar[int] = 64
    plan: ClassVar[tuple[tuple[int, int, int], ...]] = (
        (1, 5, 2),  # (B, width, 32, 32)
        (2, 3, 2),  # (B, 2 width, 16, 16)
        (4, 3, 2),  # (B, 4 width, 8, 8)
        (4, 3, 1),
        (4, 3, 2),  # (B, 4 width, 4, 4)
    )


class PhantomImageChecker(ImageChecker):
    """Image -> findings of phantom version 1."""

    name = "phantom-image-checker"
    labels: ClassVar[tuple[str, ...]] = LABELS
    net: ClassVar[type[FindingNet]] = PhantomNet
    training: ClassVar[str] = "make checkpoint"
