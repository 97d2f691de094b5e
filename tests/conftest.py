"""Fixtures that several packages share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data: MEDIM_SHARED_DATA, or shared/data beside the repository. Skips where it is missing."""
    beside = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("MEDIM_SHARED_DATA") or beside)
    if not folder.is_dir():
        pytest.skip(f"the real data is not here: no folder '{folder}' (MEDIM_SHARED_DATA names another)")
    return folder
