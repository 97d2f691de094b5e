import csv
import math

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from benchmark.cli import main
from medim.common.errors import UserError
from medim.data.sources.folder import FolderDataset
from medim.tokenizers.image import DESCRIPTION, ImageTokenizer
from medim.training.tokenizer.sweep import COLUMNS, parse_sweep, sweep_codes
from tests.medim.training.tokenizer import tiny

RECIPE = tiny.RECIPE.model_copy(
    update={"steps": 80, "l2_weight": 4.0, "quantize_start": 30, "restart_every": 10, "eval_images": 12}
    | {"eval_every": 1000, "save_steps": 1000}
)


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    """A folder of grey images with a bright square of a random place and colour."""
    folder = tmp_path_factory.mktemp("squares")
    rng = np.random.default_rng(0)
    lines = []
    for index in range(76):
        values = np.full((16, 16, 3), 60, np.uint8)
        row, column = rng.integers(0, 12, 2)
        values[row : row + 4, column : column + 4] = rng.integers(120, 256, 3)
        Image.fromarray(values).save(folder / f"{index}.png")
        split, domain = ("val" if index < 12 else "train"), ("chest-xray", "pathology")[index % 2]
        lines.append(
            f'{{"id": "{index}", "image": "{index}.png", "report": "a square.", "split": "{split}", "domain": "{domain}"}}\n'
        )
    (folder / "pairs.jsonl").write_text("".join(lines))
    return folder


@pytest.fixture(scope="module")
def swept(squares, tmp_path_factory):
    out = tmp_path_factory.mktemp("sweep")
    return out, sweep_codes(FolderDataset(squares), RECIPE, (2, 32), out, "cpu", progress=False)


def test_a_sweep_leaves_a_tokenizer_per_size_a_table_a_plot_and_a_picture(swept):
    out, rows = swept
    for codes in (2, 32):
        assert ImageTokenizer.from_pretrained(out / f"codes-{codes}").codes == codes
    with (out / "sweep.csv").open() as stream:
        table = list(csv.DictReader(stream))
    assert tuple(table[0]) == COLUMNS
    assert [(row["codes"], row["domain"]) for row in table] == [
        (codes, domain) for codes in ("2", "32") for domain in ("all", "chest-xray", "pathology")
    ]
    assert [float(row["bits_per_image"]) for row in table[::3]] == [16 * math.log2(2), 16 * math.log2(32)]
    assert all(row["finding_f1"] == "" for row in table)  # a folder has no checker
    assert float(table[3]["psnr"]) == pytest.approx(rows[3]["psnr"], abs=1e-6)
    with Image.open(out / "sweep_images.png") as picture:
        assert picture.size == (96 + 12 * 96, 3 * 96)
    with Image.open(out / "sweep.png") as plot:
        assert plot.width > 1000


def test_more_codes_tell_more(swept):
    _, rows = swept
    few, many = rows[0], rows[3]
    assert many["psnr"] > few["psnr"] + 1
    assert few["perplexity"] <= 2 < many["perplexity"]


def test_the_same_sweep_again_takes_what_is_finished_and_adds_sizes(swept, squares):
    out, before = swept
    written = {codes: (out / f"codes-{codes}" / DESCRIPTION).stat().st_mtime_ns for codes in (2, 32)}
    rows = sweep_codes(FolderDataset(squares), RECIPE, (2, 8, 32), out, "cpu", progress=False)
    assert [row["codes"] for row in rows[::3]] == [2, 8, 32]
    assert rows[:3] + rows[6:] == before
    assert written == {codes: (out / f"codes-{codes}" / DESCRIPTION).stat().st_mtime_ns for codes in (2, 32)}


def test_a_folder_that_holds_a_training_is_refused(swept, squares):
    out, _ = swept
    with pytest.raises(UserError, match="holds a training, not a sweep"):
        sweep_codes(FolderDataset(squares), RECIPE, (2,), out / "codes-2", "cpu", progress=False)


def test_sizes_are_read_in_order():
    assert parse_sweep("codes=256, 16,64") == (16, 64, 256)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("code=16", "unknown field to sweep 'code'; did you mean 'codes'"),
        ("codes=16,many", "codes are whole numbers parted by commas"),
        ("codes", "codes are whole numbers parted by commas"),
        ("codes=16,16", "each size once"),
        ("codes=1,4", "at least 2"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(UserError, match=message):
        parse_sweep(text)


def test_the_command_sweeps_and_starts_anew(squares, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "{resolution: 16, downsampling: 4, codes: 4, channels: [8, 8, 8], latent_channels: 4, steps: 4, batch_size: 8,"
        " bf16: false}"
    )
    arguments = ["train", "tokenizer", "--preset", str(recipe), "--data", str(squares), "--out", str(tmp_path / "out")]
    arguments += ["--device", "cpu", "--sweep", "codes=2,4"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "sweep.csv").is_file()
    refused = CliRunner().invoke(main, [*arguments, "--steps", "5"])
    assert refused.exit_code == 2
    assert "recipe.steps = 4, and now recipe.steps = 5" in refused.output
    anew = CliRunner().invoke(main, [*arguments, "--steps", "5", "--overwrite"])
    assert anew.exit_code == 0, anew.output
