"""MMaDA through `--model mmada:FOLDER`: its samples are the published code's on the same weights and random numbers."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from benchmark.cli import main
from benchmark.systems import open_model
from medim.common.errors import UserError
from tasks import task_named
from tasks.protocols import Generator, Limited, Reconstructs

SHORT = {"max_new_tokens": "16", "block": "8", "report_steps": "8", "steps": "6", "prompt_tokens": "12"}
TEXT = [*[111991] * 8, 44922, 59641, 59641, 44922, *[111991] * 4]
CODES = [4293, 3121, 5257, 6834, 4530, 7016, 7552, 4003, 3666, 2059, 1453, 4168, 1571, 5610, 7562, 15]


@pytest.fixture(scope="module")
def system(mmada_folder):
    return open_model(f"mmada:{mmada_folder}", "cpu", SHORT)


def test_it_does_two_tasks(system):
    assert isinstance(system, Generator)
    assert isinstance(system, Limited)
    assert isinstance(system, Reconstructs)
    assert [system.cannot(task_named(name)) for name in ("image-generation", "report-generation")] == [None, None]
    assert "not both at once" in system.cannot(task_named("joint-generation"))
    with pytest.raises(UserError, match="'MMaDA-tiny' cannot generate pairs: it draws images of reports"):
        system.generate_pairs([""], seeds=[0])
    assert system.resolution == 32
    assert system.offset == 126349
    assert "/" not in json.dumps(system.settings())


def test_its_samples_are_theirs(system, monkeypatch):
    assert system._codes("the heart is normal", 7)[:16].tolist() == CODES
    written, text = [], system._text

    def remembered(before: torch.Tensor, seed: int) -> torch.Tensor:
        written.append(text(before, seed))
        return written[-1]

    monkeypatch.setattr(system, "_text", remembered)
    (report,) = system.generate_reports([Image.new("RGB", (40, 40), (200, 9, 9))], seeds=[0])
    assert written[0].tolist() == TEXT
    assert report == system.tokenizer.decode(TEXT)


def test_a_sample_depends_on_its_seed_alone(system):
    reports = ["the heart is normal", "effusion", "the heart is normal"]
    one, two, three = system.generate_images(reports, seeds=[1, 2, 1])
    assert one.tobytes() == three.tobytes() != two.tobytes()
    assert one.tobytes() == system.generate_images(reports[:1], seeds=[1])[0].tobytes()
    assert one.size == system.reconstruct([one])[0].size == (32, 32)


def test_a_long_report_is_cut_before_its_end(system):
    prompt = system._prompt("heart " * 30)
    assert len(prompt) == 13
    assert prompt[:2] + prompt[-1:] == [126088, 126080, 126081]
    assert system._prompt("") == [126088, 126080, 126081]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"block": "5"}, "max_new_tokens=512: it has to be a multiple of block, which is 5"),
        ({"report_steps": "7"}, "report_steps=7: it has to be a multiple of the 4 blocks, up to 512"),
        ({"steps": "0"}, "steps=0: at least 1"),
        ({"guidence": "1"}, "did you mean 'guidance'"),
        ({"image_tokenizer": "nowhere"}, "no image tokenizer in 'nowhere': --set image_tokenizer=FOLDER"),
    ],
)
def test_mistakes_are_one_line(settings, message, mmada_folder):
    with pytest.raises(UserError, match=message):
        open_model(f"mmada:{mmada_folder}", "cpu", settings)
    with pytest.raises(UserError, match="--model mmada needs more"):
        open_model("mmada", "cpu", {})


@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        ("tokenizer.json", "tokenizer of MMaDA .* cannot be read"),
        ("tokenizer_config.json", "tokenizer_config.json has no bos_token or no eos_token"),
        ("chat_template.jinja", "has no chat template"),
    ],
)
def test_a_tokenizer_that_lacks_a_file_is_refused_before_anything_is_drawn(lacking, message, mmada_folder, tmp_path):
    for path in mmada_folder.iterdir():
        if path.name != lacking:
            (tmp_path / path.name).symlink_to(path)
    with pytest.raises(UserError, match=message):
        open_model(f"mmada:{tmp_path}", "cpu", {})


@pytest.mark.slow
def test_run(mmada_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDIM_BENCH_CACHE", str(tmp_path / "cache"))
    arguments = ["run", "image-generation", "report-generation", "--model", f"mmada:{mmada_folder}", "--data", "phantom"]
    arguments += ["--limit", "4", "--device", "cpu", "--out", str(tmp_path / "run")]
    for key, value in SHORT.items():
        arguments += ["--set", f"{key}={value}"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output[-800:]
    records = [json.loads(line) for line in (tmp_path / "run" / "records.jsonl").read_text().splitlines()]
    measured = {record["task"] for record in records if record["kind"] == "measured" and record["model"] == "MMaDA-tiny"}
    assert measured == {"image-generation", "report-generation"}
    assert {record["model"] for record in records if record["kind"] == "anchor"} >= {"real", "reconstruction"}
    assert (Path(tmp_path) / "run" / "samples").is_dir()
