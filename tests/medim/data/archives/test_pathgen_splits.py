"""The splits of PathGen: by patient or site, by seed, by share, by a file."""

import json
from collections import Counter
from pathlib import Path

import pytest

from medim.common.errors import UserError
from medim.common.files import hash_of
from medim.data.archives.pathgen.archive import PAPER, PathGen


@pytest.fixture(scope="module")
def many(pathgen, tmp_path_factory: pytest.TempPathFactory, write_slide, blocks) -> Path:
    """2,000 patients of 40 sites with 2 captions each; all slides are links to one."""
    folder = tmp_path_factory.mktemp("many")
    slide = write_slide(folder / "one.tif", [blocks(1024, 768, 0)])
    entries = []
    for n in range(2000):
        wsi = f"TCGA-{n % 40:02d}-{n:04d}-01Z-00-DX1.{pathgen.uuid}"
        (folder / f"{wsi}.svs").symlink_to(slide)
        entries += [pathgen.entry(wsi, 0, 0, file_id=f"{n}"), pathgen.entry(wsi, 32, 64, file_id=f"{n}")]
    pathgen.write_captions(folder, entries)
    return folder


def test_patients_and_sites_are_never_divided(pathgen, many: Path) -> None:
    by_patient = pathgen.listed(pathgen.opened(many, val=0.1, test=0.2))[0]
    assert len(by_patient) == 4000
    assert all(len(found) == 1 for found in pathgen.splits(by_patient, "patient").values())
    assert any(len(found) == 3 for found in pathgen.splits(by_patient, "site").values())
    counts = Counter(record.fields["split"] for record in by_patient.values())
    assert abs(counts["test"] / 4000 - 0.2) < 0.03
    assert abs(counts["val"] / 4000 - 0.1) < 0.03
    by_site = pathgen.splits(pathgen.listed(pathgen.opened(many, val=0.1, test=0.2, by="site"))[0], "site")
    assert all(len(found) == 1 for found in by_site.values())
    assert set.union(*by_site.values()) == {"train", "val", "test"}


def test_the_seed_decides_the_split(pathgen, many: Path) -> None:
    def split_of(seed: int) -> dict[str, str]:
        return {name: record.fields["split"] for name, record in pathgen.listed(pathgen.opened(many, seed=seed))[0].items()}

    assert split_of(0) == split_of(0) != split_of(1)


def test_the_paper_preset_keeps_the_papers_share(pathgen, many: Path) -> None:
    records, _, excluded = pathgen.listed(pathgen.opened(many, preset="paper"))
    share = (PAPER["train"] + 2 * PAPER["test"]) / 1_620_876
    assert abs(len(records) / 4000 - share) < 0.03
    assert len(records) + excluded["outside the share"] == 4000
    fractions = PathGen.presets["paper"]
    assert round(fractions["test"] * fractions["share"] * 1_620_876) == 8000
    assert round((1 - fractions["test"] - fractions["val"]) * fractions["share"] * 1_620_876) == 736_188


def test_a_smaller_share_is_part_of_a_larger_one(pathgen, many: Path) -> None:
    small, large = (set(pathgen.listed(pathgen.opened(many, share=share))[0]) for share in (0.1, 0.4))
    assert 300 < len(small) < 500
    assert small < large


def test_splits_of_a_file(pathgen, pathgen_root: Path) -> None:
    parts = {"train": ["TCGA-AA-0002"], "val": [], "test": ["TCGA-AA-0001"]}
    value = {"splits": {split: {"patients": names, "sha256": hash_of(names)} for split, names in parts.items()}}
    (pathgen_root / "splits.json").write_text(json.dumps(value))
    records, losses, excluded = pathgen.listed(pathgen.opened(pathgen_root, split_file="splits.json"))
    assert pathgen.splits(records, "patient") == {"TCGA-AA-0001": {"test"}, "TCGA-AA-0002": {"train"}}
    assert (losses, excluded) == ([], {"patient not in split_file": 1})


def test_shares_that_leave_nothing_are_refused(pathgen, pathgen_root: Path) -> None:
    with pytest.raises(UserError, match=r"is 1\.02, more than 1"):
        pathgen.opened(pathgen_root, val=0.97)
