"""PathGen-1.6M: captions of places on TCGA slides, as pairs of a tile and its caption."""

import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from PIL import Image
from pydantic import Field

from medim.common.errors import UserError
from medim.data.archives.archive import EntryArchive, Excluded, FractionOptions, Loss, Record, WholeOptions, fewer
from medim.data.archives.pathgen.captions import Captions, Entry, with_ids
from medim.data.archives.pathgen.slides import SlideFacts, SlideIndex, Slides, plan
from medim.data.splits import load_splits, u_of

PATCH = 672  # side, in pixels of level 0, of what a caption describes; `position` is its upper left corner

BARCODE = re.compile(r"(?P<patient>(?P<site>TCGA-[A-Z0-9]{2})-[A-Z0-9]{4})(-[A-Z0-9]+)+(\.[0-9A-Fa-f-]+)?")
"""TCGA's name of a slide: project, tissue-source site, participant, sample and vial, portion, slide, then a UUID."""

PAPER = {"train": 736_188, "test": 8_000}  # pathology pairs of the MeDiM paper. Which they are was not published
_CAPTIONS = 1_620_876
_PAIRS = PAPER["train"] + 2 * PAPER["test"]  # and as many to choose on as to test on


class PathGen(EntryArchive):
    """PathGen-1.6M's JSON and the TCGA slides (`.svs`) that its captions describe.

    The JSON is a list of `{"wsi_id", "position": [x, y], "caption"}`, later releases with `file_id` (the slide's UUID at the
    GDC). Its 933 MB come in no order of slides: they are read as a stream and sorted on disk (see `Captions`), so that a
    slide's pairs follow each other.

    A caption describes 672 x 672 pixels of level 0, which TCGA scanned at 20x or 40x: tiles as they are mix about 0.5 and
    0.25 microns per pixel. `microns_per_pixel` makes them one, about the same centre. Each row has `wsi`, `site`,
    `position` (as PathGen gives it), `level` (of the pyramid, read from), `tile` (pixels) and `microns_per_pixel` (of the
    tile before it is shrunk for storage; null where the slide does not state it). Each pair is a study of its own.
    """

    name: ClassVar[str] = "pathgen"
    terms: ClassVar[str] = (
        "captions: CC BY 4.0, for non-commercial scientific research only, to be cited (PathGen-1.6M); "
        "images: TCGA open access (NIH Genomic Data Commons)"
    )

    class Options(FractionOptions, WholeOptions):
        captions: Path | None = Field(None, description="PathGen's JSON, from --root; found as *PathGen*.json if not given")
        slides: Path | None = Field(
            None, description="folder with the .svs files at any depth, from --root; --root if not given"
        )
        tile: int = Field(PATCH, ge=16, le=8192, description="side of a tile, pixels")
        microns_per_pixel: float | None = Field(None, gt=0, description="of the tile; not given: the slide's level 0")
        on_missing_mpp: Literal["error", "objective"] = Field(
            "error", description="a slide without microns per pixel: a loss, or 10 / objective power"
        )
        by: Literal["patient", "site"] = Field("patient", description="what is never divided between splits")
        val: float = Field(0.05, ge=0, le=1, description="share of the patients (or sites)")
        test: float = Field(0.05, ge=0, le=1, description="share of the patients (or sites)")
        share: float = Field(1.0, gt=0, le=1, description="share of the pairs; a smaller one is part of a larger one")
        seed: int = Field(0, description="of the splits and the share")
        split_file: Path | None = Field(
            None, description="a splits.json (path from --root), instead of by, val and test; other patients are excluded"
        )

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # About the paper's numbers from all captions; patients are whole, so a split's size is met within some percent.
        "paper": {"share": _PAIRS / _CAPTIONS, "val": PAPER["test"] / _PAIRS, "test": PAPER["test"] / _PAIRS}
    }

    options: "PathGen.Options"

    def __init__(self, root: Path, options: "PathGen.Options") -> None:
        super().__init__(root, options)
        base = root if root.is_dir() else root.parent
        self.folder = base / (options.slides or "")
        self.split_file = base / options.split_file if options.split_file is not None else None
        if not self.folder.is_dir():
            raise UserError(f"pathgen: option 'slides': no folder '{self.folder}'")
        self.captions = self._find_captions(base)
        self._slides = Slides()

    def _begin(self) -> None:
        super()._begin()
        self._missing: list[dict[str, Any]] = []
        self._damaged: list[dict[str, Any]] = []
        self._scales: Counter[str] = Counter()

    def entries(self) -> Iterator[tuple[str, Any] | Loss | Excluded]:
        known = load_splits(self.split_file) if self.split_file is not None else None
        index = SlideIndex(self.folder)
        if not index.paths:
            raise UserError(
                f"pathgen: no .svs slide below '{self.folder}'; option 'slides' names another folder "
                "(the GDC has them under the wsi_id of each caption)"
            )
        with tempfile.TemporaryDirectory(prefix="medim-pathgen-") as temporary, Slides(1) as slides:
            captions = Captions(self.captions, Path(temporary))
            for number, reason in captions.sort():
                yield Loss(f"{self.captions.name}: entry {number}", reason)
            self.counts["entries"] = captions.entries
            for wsi, entries in captions.by_slide():
                yield from self._slide(wsi, entries, index, slides, known)

    def image(self, source: Any) -> Image.Image:
        name, x, y = source
        facts = self._scaled(self._slides.facts(self.folder / name))
        return self._slides.read(facts.path, plan(facts, x, y, self.options.tile, self.options.microns_per_pixel))

    def shortfall(self) -> list[Loss]:
        return [] if self.options.part else fewer("captions", self.counts["entries"], _CAPTIONS, f"'{self.captions}'")

    def facts(self) -> dict[str, Any]:
        """Entries and slides seen; slides that are missing or damaged, with the pairs they cost; slides by scale; the
        paper's numbers (`expected`)."""
        return {
            "captions": self.captions.name,
            "entries": self.counts["entries"],
            "slides": self.counts["slides"],
            "missing_slides": self._missing,
            "damaged_slides": self._damaged,
            "slides_by_microns_per_pixel": dict(sorted(self._scales.items())),
            "tile": self.options.tile,
            "microns_per_pixel": self.options.microns_per_pixel or "level 0",
            "split": "split_file" if self.split_file is not None else f"by {self.options.by}",
            "expected": {"pairs": _CAPTIONS, "medim_paper": PAPER, "note": "the paper's choice of pairs is not public"},
        }

    def _find_captions(self, folder: Path) -> Path:
        given = self.options.captions
        if given is not None or self.root.is_file():
            path = folder / given if given is not None else self.root
            if not path.is_file():
                raise UserError(f"pathgen: option 'captions': no file '{path}'")
            return path
        found = sorted(path for path in folder.glob("*.json") if "pathgen" in path.name.lower())
        if not found:
            raise UserError(f"pathgen: no *PathGen*.json in '{folder}'; option 'captions' names the file")
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise UserError(f"pathgen: several captions in '{folder}' ({names}); option 'captions' says which")
        return found[0]

    def _slide(
        self, wsi: str, entries: list[Entry], index: SlideIndex, slides: Slides, known: Mapping[str, str] | None
    ) -> Iterator[tuple[str, Any] | Loss | Excluded]:
        self.counts["slides"] += 1
        barcode = BARCODE.fullmatch(wsi)
        if barcode is None:
            yield from (Loss(f"entry {entry.number}", f"'{wsi}' is no TCGA slide barcode") for entry in entries)
            return
        split = self.options.drawn_split(barcode[self.options.by]) if known is None else known.get(barcode["patient"])
        chosen = []
        for name, entry in with_ids(entries):
            if name is None:
                yield Excluded("entry repeated word by word")
            elif split is None:
                yield Excluded("patient not in split_file")
            elif self.options.share < 1 and u_of(name, self.options.seed) >= self.options.share:
                yield Excluded("outside the share")
            else:
                chosen.append((name, entry))
        if not chosen:
            return
        path = index.find(wsi)
        if path is None:
            partly = " (its download is not finished)" if wsi.lower() in index.partial else ""
            self._missing.append({"wsi": wsi, "file_id": chosen[0][1].file_id, "pairs": len(chosen)})
            yield from (Loss(name, f"slide '{wsi}' is not below '{self.folder}'{partly}") for name, _ in chosen)
            return
        try:
            facts = self._scaled(slides.facts(path))
        except UserError as error:
            self._damaged.append({"wsi": wsi, "file_id": chosen[0][1].file_id, "pairs": len(chosen), "reason": str(error)})
            yield from (Loss(name, str(error)) for name, _ in chosen)
            return
        self._scales["unknown" if facts.microns_per_pixel is None else f"{facts.microns_per_pixel[0]:.2f}"] += 1
        yield from ((name, (name, entry, facts, {**barcode.groupdict(), "split": split})) for name, entry in chosen)

    def pairs(self, value: tuple[str, Entry, SlideFacts, dict[str, Any]]) -> Iterator[Record]:
        name, entry, facts, who = value
        width, height = facts.field(self.options.tile, self.options.microns_per_pixel)
        x, y = round(entry.x + (PATCH - width) / 2), round(entry.y + (PATCH - height) / 2)
        region = plan(facts, x, y, self.options.tile, self.options.microns_per_pixel)
        fields = {
            "id": name,
            "report": entry.caption,
            **who,
            "study": name,
            "domain": "pathology",
            "terms": self.terms,
            "wsi": entry.wsi,
            "position": [entry.x, entry.y],
            "level": region.level,
            "tile": region.tile,
            "microns_per_pixel": region.microns_per_pixel,
        }
        yield Record(fields, [facts.path.relative_to(self.folder).as_posix(), x, y])

    def _scaled(self, facts: SlideFacts) -> SlideFacts:
        return facts.scaled_by_objective() if self.options.on_missing_mpp == "objective" else facts
