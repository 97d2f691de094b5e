import pytest

from tests.tasks.adapters.mmada.layout import write_mmada


@pytest.fixture(scope="session")
def mmada_folder(tmp_path_factory):
    return write_mmada(tmp_path_factory.mktemp("mmada") / "MMaDA-tiny")
