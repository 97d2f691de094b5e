import subprocess
import sys

import pytest
from click.testing import CliRunner

from benchmark.cli import VERBS, main

GROUPS = {
    "data": ("prepare", "options", "check", "show"),
    "train": ("model", "tokenizer"),
    "sample": ("image", "report", "pair", "edit"),
    "leaderboard": ("build", "show", "add", "verify"),
}
COMMANDS = [(verb, *rest) for verb in VERBS for rest in ([(sub,) for sub in GROUPS[verb]] if verb in GROUPS else [()])]


def invoke(*arguments):
    return CliRunner().invoke(main, list(arguments))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_verb_has_help(path):
    result = invoke(*path, "--help")
    assert result.exit_code == 0, result.output
    body = result.output.split("\n\n", 1)[1]
    assert len(body.split()) > 10


def test_the_root_lists_every_verb_in_order():
    listed = invoke("--help").output.split("Commands:")[1]
    positions = [listed.index(f"\n  {verb} ") for verb in VERBS]
    assert positions == sorted(positions)


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (("rnu",), "run"),
        (("train", "modle"), "model"),
        (("run", "image-genration"), "image-generation"),
        (("run", "all", "--model", "m", "--data", "d", "--out", "o", "--device", "cude"), "cuda"),
        (("run", "--suite", "dmo"), "demo"),
        (("export", "--format", "lava"), "llava"),
        (("speed", "trian"), "train"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(arguments, nearest):
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert f"did you mean '{nearest}'" in result.stderr


def test_a_device_that_is_not_there_is_told_in_one_line():
    result = invoke("run", "all", "--model", "m", "--data", "d", "--out", "o", "--device", "cuda:99")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: device cuda:99: PyTorch finds ")
    assert result.stderr.count("\n") == 1


def test_an_unknown_option_is_answered_with_the_nearest():
    result = invoke("run", "--lmit", "3")
    assert result.exit_code == 2
    assert "--limit" in result.stderr


def test_an_unknown_data_set_is_answered_with_the_nearest(tmp_path):
    result = invoke("train", "model", "--preset", "phantom-tiny", "--data", "phantm", "--out", str(tmp_path / "x"))
    assert result.exit_code == 2
    assert "did you mean 'phantom'" in result.stderr


@pytest.mark.parametrize("path", [("run",), ("train", "tokenizer"), ("sample", "pair"), ("speed", "train")], ids=" ".join)
def test_a_command_of_one_process_is_refused_to_several(path, monkeypatch):
    for name, value in {"WORLD_SIZE": "2", "LOCAL_RANK": "0", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    result = invoke(*path)
    assert result.exit_code == 2
    assert result.stderr == f"error: {' '.join(path)} uses one process: start it without torchrun or accelerate\n"


def test_the_other_processes_end_without_a_word(monkeypatch):
    for name, value in {"WORLD_SIZE": "2", "LOCAL_RANK": "1", "RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    result = invoke("train", "tokenizer")
    assert (result.exit_code, result.output) == (2, "")


@pytest.mark.parametrize("path", [("train", "model"), ("export",)], ids=" ".join)
def test_several_processes_may_train_and_export(path, monkeypatch):
    for name, value in {"WORLD_SIZE": "2", "LOCAL_RANK": "1", "RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert invoke(*path, "--help").exit_code == 0


def test_help_imports_no_torch():
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom benchmark.cli import VERBS, main\n"
        "for verb in VERBS:\n    assert CliRunner().invoke(main, [verb, '--help']).exit_code == 0\n"
        "print([name for name in ('torch', 'transformers', 'numpy', 'pandas', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_traceback_shows_where(tmp_path):
    result = invoke("--traceback", "leaderboard", "show", str(tmp_path))
    assert result.exception is not None
    assert "no leaderboard in" in str(result.exception)


def test_set_takes_key_and_value():
    result = invoke("run", "all", "--set", "sampling.image.steps")
    assert result.exit_code == 2
    assert result.stderr == "error: --set takes key=value, not 'sampling.image.steps'\n"


def test_protocols_are_those_of_the_report_metrics():
    from benchmark import options
    from tasks.metrics.text import captioning

    assert options.PROTOCOLS[0] == "strict-v1"
    assert set(options.PROTOCOLS) == {protocol.name for protocol in captioning.PROTOCOLS.values()}


def test_closed_streams_are_no_fault_and_no_file_gets_their_numbers(tmp_path):
    code = (
        "import benchmark.cli, sys, tqdm; list(tqdm.tqdm(range(3))); print('x'); sys.stdin.read(); "
        f"sys.exit(0 if open('{tmp_path / 'file'}', 'w').fileno() > 2 else 9)"
    )
    done = subprocess.run(f'{sys.executable} -c "{code}" >&- 2>&- <&-', shell=True, check=False)
    assert done.returncode == 0
