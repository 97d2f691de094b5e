"""`medim-bench score` on the files that other programs write: each form gives the records of the same reports in our own."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from benchmark.cli import main
from leaderboard.record import read_records

COUNT = 60
Rows = list[tuple[str, str]]


def number(id: str) -> int | str:
    """As a program with whole numbers as ids writes it."""
    return int(id) if id.isdecimal() else id


def lines(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def whole(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")
    return path


def table(path: Path, header: list[str] | None, rows: list[tuple], separator: str = ",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, delimiter=separator).writerows([*([header] if header else []), *rows])
    return path


def text_lines(path: Path, rows: Rows) -> Path:
    path.write_text("\n".join(text for _, text in rows), encoding="utf-8")
    return path


def sampled(row: int, text: str, **more: object) -> dict:
    """A line of a harness's sample log."""
    return {"doc_id": row, "target": "x", "filtered_resps": [text], "doc_hash": "0", "bypass": 999} | more


FORMS: dict[str, tuple[Callable[[Path, Rows], Path], list[str]]] = {
    "CSV": (lambda at, rows: table(at / "preds.csv", ["id", "report"], rows), []),
    "TSV": (lambda at, rows: table(at / "preds.tsv", ["id", "report"], rows, "\t"), []),
    "JSON array": (lambda at, rows: whole(at / "preds.json", [{"id": id, "report": text} for id, text in rows]), []),
    "JSON by id": (lambda at, rows: whole(at / "by-id.json", dict(rows)), []),
    "JSON lines of any fields": (
        lambda at, rows: lines(at / "mine.jsonl", [{"study": number(id), "out": {"text": [text]}} for id, text in rows]),
        ["--map", "id=study,report=out.text.0"],
    ),
    "LLaVA answers": (
        lambda at, rows: lines(
            at / "answers.jsonl",
            [{"question_id": number(id), "prompt": "?", "text": text, "answer_id": "a", "metadata": {}} for id, text in rows],
        ),
        [],
    ),
    "R2GenGPT result": (lambda at, rows: whole(at / "test_result.json", {id: [text] for id, text in rows}), []),
    "R2Gen annotation": (
        lambda at, rows: whole(
            at / "annotation.json",
            {"train": [], "test": [{"id": id, "report": text, "image_path": [f"{id}/0.png"]} for id, text in rows]},
        ),
        [],
    ),
    "R2Gen res.csv": (lambda at, rows: table(at / "res.csv", None, [(text,) for _, text in rows]), ["--ids", "ids.csv"]),
    "lmms-eval samples": (
        lambda at, rows: lines(
            at / "t_samples_cxr.jsonl", [sampled(i, rows[i][1], input="?") for i in reversed(range(len(rows)))]
        ),
        ["--ids", "ids.csv"],
    ),
    "lm-evaluation-harness samples": (
        lambda at, rows: lines(
            at / "samples_cxr.jsonl", [sampled(7, text, doc={"study_id": id, "q": "?"}, resps=[[text]]) for id, text in rows]
        ),
        [],
    ),
    "COCO captions": (
        lambda at, rows: whole(at / "captions.json", [{"image_id": number(id), "caption": text} for id, text in rows]),
        [],
    ),
    "VQA results": (
        lambda at, rows: whole(at / "vqa.json", [{"question_id": number(id), "answer": text} for id, text in rows]),
        [],
    ),
    "VLMEvalKit": (
        lambda at, rows: table(
            at / "model.tsv", ["index", "question", "answer", "prediction"], [(id, "?", "", text) for id, text in rows], "\t"
        ),
        [],
    ),
    "ReXrank": (
        lambda at, rows: whole(
            at / "prediction.json",
            {id: {"findings": "no", "report": "no", "model_prediction": text, "subject_id": 1} for id, text in rows},
        ),
        [],
    ),
    "OpenAI batch": (
        lambda at, rows: lines(
            at / "batch_output.jsonl",
            [
                {"custom_id": id, "response": {"body": {"choices": [{"message": {"role": "assistant", "content": text}}]}}}
                for id, text in rows
            ],
        ),
        [],
    ),
    "image folder": (
        lambda at, rows: table(at / "metadata.csv", ["file_name", "text"], [(f"images/{id}.png", text) for id, text in rows]),
        [],
    ),
    "Parquet": (
        lambda at, rows: (
            pq.write_table(
                pa.table({"id": [number(id) for id, _ in rows], "report": [text for _, text in rows]}), at / "preds.parquet"
            )
            or at / "preds.parquet"
        ),
        [],
    ),
    "generated_predictions.txt": (lambda at, rows: text_lines(at / "generated_predictions.txt", rows), ["--ids", "ids.csv"]),
    "LLaMA-Factory": (
        lambda at, rows: lines(at / "generated_predictions.jsonl", [{"predict": text, "label": "x"} for _, text in rows]),
        ["--ids", "ids.csv"],
    ),
}


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


@pytest.fixture(scope="module")
def world(shared_data, tmp_path_factory) -> tuple[Path, Rows]:
    """A folder with real references (`data`), `ids.csv` of `data ids`, and a real generator's reports in our form (`own`)."""
    at = tmp_path_factory.mktemp("world")
    source = shared_data / "fixtures" / "iu_mrg_rl" / "qwen_dino_sft_rag_top20_number_cw1_lr5e5_infer_epoch0_beam1"
    references, texts = (json.loads((source / f"test_{name}.json").read_text()) for name in ("refs", "preds"))
    rows = [(id, texts[id][0]) for id in list(references)[:COUNT]]
    for name in ("data", "own"):
        (at / name).mkdir()
    lines(at / "data" / "reports.jsonl", [{"id": id, "report": references[id][0], "split": "test"} for id, _ in rows])
    lines(at / "own" / "predictions.jsonl", [{"id": id, "report": text} for id, text in rows])
    result = call("data", "ids", at / "data", "--out", at / "ids.csv")
    assert result.output == f"{COUNT} ids: {at / 'ids.csv'}\n"
    return at, rows


@pytest.fixture(scope="module")
def score(world, tmp_path_factory):
    at, _ = world

    def scored(predictions: Path, *more: object, out: Path, status: int = 0) -> Result:
        fixed = ("--data", at / "data", "--out", out, "--protocol", "as-given", "--cache", at / "cache", "--name", "theirs")
        result = call("score", "report-generation", "--predictions", predictions, *fixed, *more)
        assert result.exit_code == status, result.output
        return result

    return scored


def records(out: Path) -> list[dict]:
    return [one.model_dump(exclude={"created", "command"}) for one in read_records(out / "records.jsonl")]


@pytest.fixture(scope="module")
def own(world, score, tmp_path_factory) -> list[dict]:
    out = tmp_path_factory.mktemp("scored") / "own"
    score(world[0] / "own", out=out)
    found = records(out)
    assert {one["metric"]: one["value"] for one in found if one["kind"] == "measured"}["BLEU-4 (as given)"] > 0.05
    return found


@pytest.mark.parametrize("form", FORMS)
def test_a_form_gives_the_records_of_ours(world, score, own, tmp_path, form):
    at, rows = world
    write, options = FORMS[form]
    result = score(write(tmp_path, rows), *(at / one if one == "ids.csv" else one for one in options), out=tmp_path / "out")
    found = records(tmp_path / "out")
    if form == "image folder":  # the predictions' hash is over the ids as they stand
        found, own = (
            [one | {"run": "", "signature": one["signature"] | {"model": ""}} for one in some] for some in (found, own)
        )
    assert found == own
    assert ("without folder and suffix" in result.stderr) == (form == "image folder")


def refused(world, score, path: Path, *options: object) -> str:
    """The one line that says why a file is not scored."""
    result = score(path, *options, out=path.parent / "refused", status=2)
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1
    assert not (path.parent / "refused").exists()
    return result.stderr


def test_unknown_fields_are_named_with_a_map(world, score, tmp_path):
    _, rows = world
    unknown = lines(tmp_path / "a.jsonl", [{"study": id, "model_output": text, "n": 1} for id, text in rows])
    assert "its fields are study, model_output, n: say which, such as --map id=study,report=model_output" in refused(
        world, score, unknown
    )
    assert "--map: unknown field 'stdy'; did you mean 'study'?" in refused(world, score, unknown, "--map", "id=stdy,report=n")
    assert "a.jsonl:1: field 'n' must be a string, not 1" in refused(world, score, unknown, "--map", "id=study,report=n")
    assert "unknown key of --map 'reprot'; did you mean 'report'?" in refused(world, score, unknown, "--map", "reprot=n")
    two = lines(tmp_path / "b.jsonl", [{"question_id": id, "text": text, "answer": "no"} for id, text in rows])
    assert "b.jsonl: the report may be 'text' (LLaVA) or 'answer' (VQA results); its fields are" in refused(world, score, two)
    several = lines(tmp_path / "c.jsonl", [sampled(0, "x", doc={"id": rows[0][0]}) | {"filtered_resps": ["x", "y"]}])
    assert "c.jsonl:1: field 'filtered_resps' holds 2 texts, and one is scored: --map report=filtered_resps.0" in refused(
        world, score, several
    )


def test_a_row_number_is_no_id(world, score, tmp_path):
    at, rows = world
    log = lines(tmp_path / "samples.jsonl", [sampled(0, rows[0][1], doc={"q": "?", "image": "x"})])
    message = refused(world, score, log)
    assert "doc_id counts rows and is no case's id: give --map id=doc.FIELD (doc has q, image), or --ids FILE" in message
    beyond = lines(tmp_path / "beyond.jsonl", [sampled(COUNT, rows[0][1])])
    assert f"beyond.jsonl:1: doc_id is {COUNT}: --ids has {COUNT} ids, from 0 on" in refused(
        world, score, beyond, "--ids", at / "ids.csv"
    )
    both = refused(world, score, beyond, "--ids", at / "ids.csv", "--map", "id=doc_id")
    assert "--ids and --map id=FIELD both say which report is whose" in both
    log.write_text(json.dumps(sampled(0, "x")) + "\n" + "{\n" * (COUNT + 1), encoding="utf-8")
    assert "samples.jsonl:2: broken JSON" in (message := refused(world, score, log, "--ids", at / "ids.csv"))
    assert f"and {COUNT} more" in message
    broken = FORMS["Parquet"][0](tmp_path, rows)
    broken.write_bytes(broken.read_bytes().replace(rows[0][1].encode()[:9], b"\xff" * 9))
    assert "preds.parquet: cannot be read as Parquet" in refused(world, score, broken)
    fewer = text_lines(tmp_path / "fewer.txt", rows[1:])
    assert f"fewer.txt holds {COUNT - 1} reports, and --ids {COUNT} ids" in refused(
        world, score, fewer, "--ids", at / "ids.csv"
    )


def test_ids_that_match_nothing_get_the_nearest_and_none_is_guessed(world, score, tmp_path):
    """A leading zero, a fraction, two files of one case: none is taken for a case."""
    _, rows = world
    id, text = rows[0]
    padded = table(tmp_path / "a.csv", ["id", "report"], [(f"0{id}", text), *rows[1:]])
    assert f"a.csv:2: '0{id}' is no pair of this split; did you mean '{id}'?" in refused(world, score, padded)
    fraction = whole(tmp_path / "b.json", [{"id": float(id), "report": text}])
    assert f"entry 1: field 'id' must be a string or a whole number, not {float(id)}" in refused(world, score, fraction)
    twice = table(tmp_path / "c.csv", ["id", "report"], [(id, text), (f"x/{id}.png", text)])
    assert f"c.csv:3: 'x/{id}.png' is a second prediction for '{id}', after that of" in refused(world, score, twice)


def test_references_of_the_file_stand_in_for_those_of_the_data(world, score, own, tmp_path):
    """One reference, the data set's own: the same values under another signature. Several: the values rise."""
    at, rows = world
    data = {json.loads(line)["id"]: json.loads(line)["report"] for line in (at / "data/reports.jsonl").read_text().splitlines()}

    def measured(found: list[dict]) -> dict[str, float]:
        return {one["metric"]: one["value"] for one in found if one["kind"] == "measured"}

    for name, others in (("one", lambda text: []), ("two", lambda text: [text])):
        content = [{"id": id, "report": text, "refs": [data[id], *others(text)]} for id, text in rows]
        score(lines(tmp_path / f"{name}.jsonl", content), "--map", "references=refs", out=tmp_path / name)
    one, two = records(tmp_path / "one"), records(tmp_path / "two")
    assert measured(one) == measured(own)
    assert all("of the predictions' file" in record["signature"]["references"] for record in [*one, *two])
    assert [measured(two)[name] for name in ("BLEU-4 (as given)", "ROUGE-L (as given)")] == pytest.approx([1, 1])
    verified = call("leaderboard", "verify", tmp_path / "two", "--data", at / "data")
    assert "nothing to score again: report-generation: scored against other references than the data set's" in verified.output
    bleu = next(record for record in two if record["metric"] == "BLEU-4 (as given)")
    assert bleu["signature"]["references_per_case"] == "2 to 2"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("qwen_dino_sft_rag_top20_number_cw1_lr5e5_infer_epoch0_beam1", "test_preds.json"),
        ("rag_top50_clinical_oracle", "test_cw1.0_rf0.0_preds.json"),
    ],
)
def test_published_values_of_real_generators_from_their_own_files(shared_data, tmp_path, folder, name):
    """BLEU-1..4, ROUGE-L and CIDEr of 382 reports, as their authors computed them with pycocoevalcap."""
    source = shared_data / "fixtures" / "iu_mrg_rl"
    qwen = source / "qwen_dino_sft_rag_top20_number_cw1_lr5e5_infer_epoch0_beam1"
    (tmp_path / "data").mkdir()
    references = json.loads((qwen / "test_refs.json").read_text())
    content = [{"id": id, "report": first, "other_reports": more, "split": "test"} for id, (first, *more) in references.items()]
    lines(tmp_path / "data" / "reports.jsonl", content)
    if folder.startswith("qwen"):
        published = json.loads((qwen / "summary.json").read_text())["test"]
    else:
        published = json.loads((source / folder / "test_summary.json").read_text())[0]["metrics"]
    fixed = ("--data", tmp_path / "data", "--out", tmp_path / "out", "--protocol", "as-given", "--cache", "none")
    result = call("score", "report-generation", "--predictions", source / folder / name, *fixed)
    assert result.exit_code == 0, result.output
    found = {one.metric: one.value for one in read_records(tmp_path / "out/records.jsonl") if one.kind == "measured"}
    names = {f"BLEU-{n} (as given)": f"Bleu_{n}" for n in range(1, 5)}
    names |= {"ROUGE-L (as given)": "ROUGE_L", "CIDEr (as given)": "CIDEr"}
    for ours, theirs in names.items():
        assert found[ours] == pytest.approx(published[theirs], abs=5e-7), ours
