"""Where the slides of a folder lie, by name."""

import os
from collections.abc import Iterator
from pathlib import Path


class SlideIndex:
    """Slides of a folder by name, found once; `name.svs` may lie anywhere below (the GDC client makes a folder for each file).

    Folders that are links are followed, each folder once. Of two files of one name the first in path order counts.

    Args:
        folder: where to look.
        suffix: of the slides.
    """

    def __init__(self, folder: Path, suffix: str = ".svs") -> None:
        self.folder = folder
        self.paths: dict[str, Path] = {}
        self.partial: set[str] = set()
        """Names of which only an unfinished download (`.svs.partial`) lies there."""
        for path in sorted(_files(folder)):
            name = path.name.lower()
            if name.endswith(suffix):
                self.paths.setdefault(name.removesuffix(suffix), path)
            elif name.endswith(f"{suffix}.partial"):
                self.partial.add(name.removesuffix(f"{suffix}.partial"))

    def __len__(self) -> int:
        return len(self.paths)

    def find(self, name: str) -> Path | None:
        """The slide called `name` (case does not count). `BARCODE.UUID` also finds a file called `BARCODE` alone."""
        name = name.lower()
        return self.paths.get(name) or self.paths.get(name.partition(".")[0])


def _files(folder: Path) -> Iterator[Path]:
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(place, name) for name in names)
