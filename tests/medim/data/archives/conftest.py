"""Archives made here: slides that OpenSlide takes for Aperio's, captions of them, and a small MIMIC-CXR."""

import gzip
import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from medim.data.archives.archive import Excluded, Loss, Record, open_archive
from medim.data.archives.mimic.archive import MimicCxr
from medim.data.archives.mimic.tables import LABELS
from medim.data.archives.pathgen.archive import PathGen

WIDTH, HEIGHT = 2048, 1536


def _blocks(width: int, height: int, level: int) -> np.ndarray:
    """(H, W, 3): blocks of 32 pixels of level 0, each of its own red and green; blue tells the level."""
    scale = 4**level
    y, x = np.mgrid[:height, :width] * scale // 32
    return np.stack([x * 3, y * 4, np.full_like(x, 50 + 60 * level)], -1).astype(np.uint8)


def _write_slide(
    path: Path, levels: list[np.ndarray] | None = None, mpp: str | None = "0.25", power: str | None = "40"
) -> Path:
    """A tiled pyramid TIFF that OpenSlide takes for Aperio's."""
    levels = levels or [_blocks(WIDTH >> 2 * k, HEIGHT >> 2 * k, k) for k in range(3)]
    height, width = levels[0].shape[:2]
    description = f"Aperio Image Library v11.2.1 \r\n{width}x{height} [0,0 {width}x{height}] (256x256) JPEG/RGB Q=70"
    description += f"|AppMag = {power}" if power else ""
    description += f"|MPP = {mpp}" if mpp else ""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(path) as tiff:
        for level in levels:
            tiff.write(level, tile=(256, 256), photometric="rgb", compression="zlib", description=description, metadata=None)
    return path


@pytest.fixture(scope="session")
def blocks() -> Callable[..., np.ndarray]:
    """The pixels of a level: `blocks(width, height, level)`."""
    return _blocks


@pytest.fixture(scope="session")
def write_slide() -> Callable[..., Path]:
    """Writes a slide of 2048 x 1536 pixels in three levels, or of other ones: `write_slide(path, levels, mpp, power)`."""
    return _write_slide


# ---- PathGen ---------------------------------------------------------------------------------------------------------------

UUID = "E852F218-B15C-4CF8-8FD0-F284043834C4"

FIRST, SECOND, THIRD, FOURTH = (
    f"TCGA-{name}-01Z-00-DX1.{UUID[:-4]}{n:04d}" for n, name in enumerate(("AA-0001", "AA-0002", "BB-0003", "BB-0004"))
)


def _entry(wsi: str, x: int, y: int, caption: str | None = None, **fields: Any) -> dict[str, Any]:
    caption = f"tissue at {x}, {y}" if caption is None else caption
    return {"wsi_id": wsi, "position": [str(x), str(y)], "caption": caption, **fields}


_ENTRIES = [
    _entry(SECOND, 0, 0, file_id="f2"),
    _entry(FIRST, 320, 192),
    _entry(THIRD, 64, 32, file_id="f3"),
    _entry(FIRST, 0, 0),
    _entry(SECOND, 1376, 864, file_id="f2"),
    _entry(FIRST, 1344, 832),
]


def _write_captions(root: Path, entries: list[Any], name: str = "PathGen-1.6M.json") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(json.dumps(entries, indent=1), encoding="utf-8")
    return root / name


@pytest.fixture(scope="session")
def pathgen_slides(tmp_path_factory: pytest.TempPathFactory, write_slide) -> Path:
    """As the GDC client leaves them: a folder for each file, the third not finished."""
    folder = tmp_path_factory.mktemp("gdc")
    write_slide(folder / "0a" / f"{FIRST}.svs")
    write_slide(folder / "1b" / f"{SECOND.replace('E852', 'e852')}.svs", mpp="0.5", power="20")
    (folder / "2c").mkdir()
    (folder / "2c" / f"{THIRD}.svs.partial").write_bytes(b"II*\0")
    return folder


@pytest.fixture
def pathgen_root(tmp_path: Path, pathgen_slides: Path) -> Path:
    _write_captions(tmp_path / "root", _ENTRIES)
    (tmp_path / "root" / "slides").symlink_to(pathgen_slides)
    return tmp_path / "root"


def _pathgen(root: Path, preset: str | None = None, **overrides: Any) -> PathGen:
    archive = open_archive("pathgen", root, preset, {key: str(value) for key, value in overrides.items()})
    assert isinstance(archive, PathGen)
    return archive


def _pathgen_records(archive: PathGen) -> tuple[dict[str, Record], list[Loss], Counter[str]]:
    records: dict[str, Record] = {}
    losses, excluded = [], Counter[str]()
    for item in archive.records():
        if isinstance(item, Record):
            assert item.fields["id"] not in records
            records[item.fields["id"]] = item
        elif isinstance(item, Loss):
            losses.append(item)
        else:
            assert isinstance(item, Excluded)
            excluded[item.reason] += 1
    return records, losses, excluded


def _splits(records: Mapping[str, Record], field: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for record in records.values():
        found.setdefault(record.fields[field], set()).add(record.fields["split"])
    return found


@pytest.fixture(scope="session")
def pathgen() -> SimpleNamespace:
    """Names of slides, and functions: `entry` and `write_captions` make captions, `opened`, `listed`, `splits` read them."""
    return SimpleNamespace(
        uuid=UUID,
        first=FIRST,
        second=SECOND,
        third=THIRD,
        fourth=FOURTH,
        entries=_ENTRIES,
        entry=_entry,
        write_captions=_write_captions,
        opened=_pathgen,
        listed=_pathgen_records,
        splits=_splits,
    )


# ---- MIMIC-CXR -------------------------------------------------------------------------------------------------------------

_IMAGES = [
    ("a1", 50000001, 10000032, "train", "PA"),
    ("a2", 50000001, 10000032, "train", "LATERAL"),
    ("a3", 50000002, 10000032, "train", "AP"),
    ("b1", 50000003, 10000048, "train", "LATERAL"),
    ("b2", 50000003, 10000048, "train", "PA"),
    ("c1", 50000004, 11000011, "validate", "AP"),
    ("c2", 50000005, 11000011, "validate", ""),
    ("d1", 50000006, 11000022, "test", "PA"),
    ("e1", 50000007, 12000033, "test", "LL"),
    ("e2", 50000007, 12000033, "test", "AP"),
    ("f1", 50000008, 12000044, "train", "PA"),
    ("f2", 50000009, 12000044, "train", "AP"),
    ("f3", 50000009, 12000044, "train", "PA"),
]


_REPORTS = {
    50000001: " FINAL REPORT\n EXAMINATION:  CHEST\n \n INDICATION:  ___ man.\n \n FINDINGS: \n \n Seen by Dr. ___, the lungs\n"
    " are clear.\n \n IMPRESSION: \n \n Normal.\n",
    50000002: " FINAL REPORT\n FINDINGS:  Small effusion.\n",
    50000003: " FINAL REPORT\n HISTORY:  Cough.\n\n IMPRESSION:  Pneumonia.\n",
    50000004: " FINAL REPORT\n FINDINGS/IMPRESSION:  Device in place.\n",
    50000005: " FINAL REPORT\n AP CHEST, ___\n\n As compared to the previous film, no change.\n",
    50000006: " FINAL REPORT\n INDICATION:  Cough.\n",
    50000007: " FINDINGS:  ___\n",
    50000009: "WET READ: Fine.\n______________\n FINAL REPORT\n LUNGS:  Clear.\n\n RECOMMENDATION(S):  None needed.\n",
}  # 50000008 has none


_CHEXPERT = {
    50000001: {"No Finding": "1.0"},
    50000002: {"Pleural Effusion": "1.0", "Edema": "0.0", "Atelectasis": "-1.0"},
    50000003: {"Pneumonia": "1.0", "Support Devices": "1.0"},
}


def _write_csv(path: Path, header: list[str], rows: list[list[object]]) -> Path:
    text = "".join(",".join(map(str, row)) + "\n" for row in [header, *rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def _label_rows(table: dict[int, dict[str, str]]) -> list[list[object]]:
    return [[1, study, *(labels.get(name, "") for name in LABELS)] for study, labels in table.items()]


def _study_folder(study: int, subject: int) -> str:
    return f"p{str(subject)[:2]}/p{subject}/s{study}"


@pytest.fixture
def mimic_root(tmp_path: Path) -> Path:
    root = tmp_path / "physionet.org"
    jpg = root / "files" / "mimic-cxr-jpg" / "2.1.0"
    for image, study, subject, _, _ in _IMAGES:
        path = jpg / "files" / _study_folder(study, subject) / f"{image}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (6, 4), ord(image[0])).save(path)
        if study in _REPORTS:
            report = root / "files" / "mimic-cxr" / "2.1.0" / "files" / f"{_study_folder(study, subject)}.txt"
            report.parent.mkdir(parents=True, exist_ok=True)
            report.write_text(_REPORTS[study])
    _write_csv(
        jpg / "mimic-cxr-2.0.0-split.csv.gz",
        ["dicom_id", "study_id", "subject_id", "split"],
        [list(row[:4]) for row in _IMAGES],
    )
    _write_csv(
        jpg / "mimic-cxr-2.0.0-metadata.csv.gz",
        ["dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition", "Rows", "StudyDate"],
        [[image, subject, study, "CHEST (PA AND LAT)", view, 4, "21800506"] for image, study, subject, _, view in _IMAGES],
    )
    _write_csv(jpg / "mimic-cxr-2.0.0-chexpert.csv.gz", ["subject_id", "study_id", *LABELS], _label_rows(_CHEXPERT))
    return root


def _tables(root: Path) -> Path:
    return root / "files" / "mimic-cxr-jpg" / "2.1.0"


def _mimic_records(
    root: Path, preset: str | None = None, **options: str
) -> tuple[dict[str, dict], list[Excluded], list[Loss], MimicCxr]:
    """(fields by id, excluded, losses, the archive) of an archive with these options."""
    archive = open_archive("mimic-cxr", root, preset, options)
    items = list(archive.records())
    assert isinstance(archive, MimicCxr)
    return (
        {item.fields["id"]: dict(item.fields) for item in items if isinstance(item, Record)},
        [item for item in items if isinstance(item, Excluded)],
        [item for item in items if isinstance(item, Loss)],
        archive,
    )


@pytest.fixture
def mimic(mimic_root: Path) -> SimpleNamespace:
    """A tree of its own layout: six patients, nine studies, thirteen images; `listed(preset, **options)` is what is in it."""

    def listed(preset: str | None = None, root: Path = mimic_root, **options: str) -> Any:
        return _mimic_records(root, preset, **options)

    return SimpleNamespace(
        root=mimic_root,
        tables=_tables(mimic_root),
        reports=_REPORTS,
        listed=listed,
        write_csv=_write_csv,
        label_rows=_label_rows,
    )
