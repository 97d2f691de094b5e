import json

import pytest
from click.testing import CliRunner

from benchmark.cli import main
from benchmark.selftest.labels import FOLDER, Figure, of_mesh, read_indiana, read_own_set
from medim.common.errors import UserError
from tasks.metrics.clinical.chest_labels import BLANK, LABELS

COMMITTED = [Figure(**figure) for figure in json.loads((FOLDER / "figures.json").read_text(encoding="utf-8"))["figures"]]


def test_the_own_set_is_read_as_committed():
    reading = read_own_set()
    assert list(reading.figures) == COMMITTED[:6]
    assert all(figure.value <= 0.05 for figure in reading.figures)
    assert sum(figure.n for figure in reading.figures[:3]) >= 1300


def test_indiana_is_read_as_committed(shared_data):
    reading = read_indiana(shared_data / "text")
    assert [figure.what for figure in reading.figures] == [figure.what for figure in COMMITTED[6:]]
    for figure, committed in zip(reading.figures, COMMITTED[6:], strict=True):
        assert (figure.value, figure.n) == pytest.approx((committed.value, committed.n), abs=1e-9)
        assert figure.low == pytest.approx(committed.low, abs=0.005)  # of resampled patients
    given, _, _, human = reading.figures
    assert given.value >= 0.749
    assert human.value >= 0.814


def test_mesh_codes():
    def named(codes: str) -> set[str]:
        return {label for label, code in zip(LABELS, of_mesh(codes), strict=True) if code != BLANK}

    assert named("normal") == {"No Finding"}
    assert named("Cardiomegaly/borderline;Pulmonary Artery/enlarged") == {"Cardiomegaly"}
    assert named("Opacity/lung/base/left;Catheters, Indwelling/right") == {"Lung Opacity", "Support Devices"}
    assert named("Tube, Inserted") == {"Support Devices", "No Finding"}
    assert named("Mediastinum/enlarged;Heart/enlarged;Calcinosis/pleura") == {
        "Enlarged Cardiomediastinum",
        "Cardiomegaly",
        "Pleural Other",
    }


def test_a_folder_without_the_files_says_so(tmp_path):
    with pytest.raises(UserError, match="holds 0 files 'openi_metadata"):
        read_indiana(tmp_path)


def test_command(tmp_path):
    result = CliRunner().invoke(main, ["selftest", "--labels", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "presence errors, n = 336: own reports, look" in result.output
    figures = json.loads((tmp_path / "selftest_labels.json").read_text(encoding="utf-8"))["figures"]
    assert [Figure(**figure) for figure in figures] == COMMITTED[:6]
    refused = CliRunner().invoke(main, ["selftest", "--indiana", str(tmp_path)])
    assert refused.exit_code != 0
    assert "--indiana goes with --labels" in refused.output
