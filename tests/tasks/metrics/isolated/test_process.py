"""Whatever a metric in an environment does, it ends as numbers or as one line."""

import sys
import time

import pytest

from medim.common.errors import ForeignError
from tasks.metrics.isolated.environment import Environment, Recipe
from tasks.metrics.isolated.process import evaluate

ROWS = [{"id": name, "prediction": "left", "references": ["left"]} for name in ("a", "b")]
GOOD = 'print(\'{"id": "a", "values": {"m": 1}}\\n{"id": "b", "values": {"m": 0.5}}\', file=out)'
HEAD = "import json, os, sys, time\nout = open(sys.argv[2], 'w')\n"


@pytest.fixture
def run(tmp_path):
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "weights").mkdir()

    def evaluated(script, corpus=False, timeout=60, rows=ROWS, **options):
        (tmp_path / "metric.py").write_text(HEAD + script)
        more = {"corpus": {"c": {}}} if corpus else {}
        recipe = Recipe.model_validate({"title": "M", "version": "1", "values": {"m": {}}, "timeout": timeout, **more})
        return evaluate(Environment("mine", tmp_path, recipe), rows, **options)

    return evaluated


def test_numbers_come_in_the_order_of_the_rows(run):
    script = "ids = [json.loads(line)['id'] for line in open(sys.argv[1])]\nfor number, one in reversed([*enumerate(ids)]):\n"
    script += "    print(json.dumps({'id': one, 'values': {'m': number}}), file=out)\n"
    values = run(script + "print(json.dumps({'corpus': {'c': 7}}), file=out)", corpus=True)
    assert (values.cases["m"].tolist(), values.corpus) == ([0, 1], {"c": 7})


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("raise SystemExit('no weights here')", "ended with status 1: no weights here"),
        ("1 / 0", "ended with status 1: ZeroDivisionError: division by zero"),
        ("os.kill(os.getpid(), 9)", "was ended by signal 9"),
        ("", "gave no whole answer: 2 of 2 ids are missing, such as 'a'"),
        ("os.unlink(sys.argv[2])", "gave no whole answer: it wrote no file"),
        ("print('loading...', file=out)", "line 1: broken JSON"),
        ("print('[1]', file=out)", "line 1 is neither"),
        ('print(\'{"id": "a", "values": {"m": 1}}\', file=out)', "1 of 2 ids are missing, such as 'b'"),
        ('print(\'{"id": "c", "values": {"m": 1}}\', file=out)', "line 1: id 'c' was not given"),
        ('print(\'{"id": "a", "values": {"m": 1}}\\n\' * 2, file=out)', "line 2: id 'a' stands twice"),
        ('print(\'{"id": "a", "values": {"m": NaN}}\', file=out)', "line 1: field 'values.m' is NaN"),
        ('print(\'{"id": "a", "values": {"m": null}}\', file=out)', "line 1: 'm' is None: a finite number is needed"),
        ('print(\'{"id": "a", "values": {"m": true}}\', file=out)', "line 1: 'm' is True"),
        ('print(\'{"id": "a", "values": {"n": 1}}\', file=out)', "line 1: values m are needed, not n"),
        ('print(\'{"corpus": {"c": 1}}\', file=out)', "line 1: values"),
        ("out.write('x' * 8); sys.stderr.write('\\x1b[31mwhy\\x1b[0m\\n\\n')", r"broken JSON.*: why$"),
    ],
)
def test_what_is_no_answer_is_one_line(run, script, reason):
    with pytest.raises(ForeignError, match=rf"^metric environment 'mine'.*{reason}") as error:
        run(script)
    assert str(error.value).isprintable()


def test_a_missing_corpus_is_no_answer(run):
    with pytest.raises(ForeignError, match="'corpus' is missing"):
        run(GOOD, corpus=True)


def test_one_that_takes_too_long_is_ended_with_what_it_started(run, tmp_path):
    script = "import subprocess\nchild = subprocess.Popen(['sleep', '60'])\n"
    script += f"open({str(tmp_path / 'child')!r}, 'w').write(str(child.pid))\nsys.stderr.write('step 1\\n')\ntime.sleep(60)"
    with pytest.raises(ForeignError, match="ran longer than 1 s: step 1"):
        run(script, timeout=1)
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            state = open(f"/proc/{child}/stat").read().rpartition(")")[2].split()[0]  # noqa: SIM115
        except OSError:
            return
        if state == "Z":
            return
        time.sleep(0.05)
    pytest.fail("its child still runs")


def test_it_sees_its_weights_and_no_hub_and_nothing_of_our_python(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/ours")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    names = ["MEDIM_METRIC_WEIGHTS", "HF_HOME", "HF_HUB_OFFLINE", "PYTHONPATH", "CUDA_VISIBLE_DEVICES"]
    script = f"open({str(tmp_path / 'seen')!r}, 'w').write(json.dumps([os.environ.get(name) for name in {names}]))\n"
    weights = str(tmp_path / "weights")
    for options, expected in (
        ({}, [weights, f"{weights}/huggingface", "1", None, ""]),
        ({"device": "cuda:1", "download": True}, [weights, f"{weights}/huggingface", "0", None, "1"]),
    ):
        run(script + GOOD, **options)
        assert __import__("json").loads((tmp_path / "seen").read_text()) == expected


def test_texts_arrive_as_they_are(run, tmp_path):
    text = 'two\nlines "\u2028" \U0001fa7b \udcff'
    script = "rows = [json.loads(line) for line in open(sys.argv[1])]\nassert len(rows) == 2\n"
    script += f"assert rows[0]['prediction'] == {text!r}, rows\n"
    run(script + GOOD, rows=[{**row, "prediction": text} for row in ROWS])
