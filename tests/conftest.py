"""No test reaches the network; fixtures that several packages share."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

_OFFLINE = Path(__file__).parent / "offline"


def _refused() -> ModuleType:
    """Binds this process, and through PYTHONPATH those that it starts."""
    spec = importlib.util.spec_from_file_location("medim_tests_offline", _OFFLINE / "sitecustomize.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_OFFLINE), os.environ.get("PYTHONPATH")]))
    return module


OFFLINE = _refused()  # before any test module is imported: an import may not reach for the network either


@pytest.fixture(autouse=True)
def no_network() -> Iterator[list[str]]:
    """Fails a test that reached beyond this machine, also where the code under test took the refusal in its stride."""
    OFFLINE.ATTEMPTS.clear()
    yield OFFLINE.ATTEMPTS
    assert not OFFLINE.ATTEMPTS, f"the test reached for the network: {OFFLINE.ATTEMPTS}"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data: MEDIM_SHARED_DATA, or shared/data beside the repository. Skips where it is missing."""
    beside = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("MEDIM_SHARED_DATA") or beside)
    if not folder.is_dir():
        pytest.skip(f"the real data is not here: no folder '{folder}' (MEDIM_SHARED_DATA names another)")
    return folder
