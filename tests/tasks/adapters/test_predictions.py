import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from medim.common.errors import UserError
from medim.data.sources.folder import FolderDataset
from tasks import task_named
from tasks.adapters.prediction_forms import parse_map
from tasks.adapters.prediction_rows import read_ids
from tasks.adapters.predictions import PredictionFolder
from tasks.cases import SplitIds
from tasks.protocols import Answered, Limited

CASES = ["c0", "c1", "c2", "c3"]
KNOWN = dict.fromkeys([*CASES, "c4", "c5"])


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "theirs"
    (made / "images").mkdir(parents=True)
    for number in range(4):
        Image.new("RGB", (6, 4), (number, 0, 0)).save(made / "images" / f"{number}.png")
    return made


def write(folder, *rows, name="predictions.jsonl"):
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def answers(folder, task="report-generation", cases=CASES):
    return PredictionFolder(folder).answers(task_named(task), cases, KNOWN)


def test_lines_answer_their_cases_whatever_their_order(folder):
    write(folder, {"id": "c2", "report": "two\u2028lines", "image": "images/2.png"}, {"id": "c0", "report": "zero", "x": 1})
    system = PredictionFolder(folder, "Their model")
    assert isinstance(system, Answered)
    assert isinstance(system, Limited)
    assert (system.name, PredictionFolder(folder).name) == ("Their model", "theirs")
    found = system.answers(task_named("report-generation"), CASES, KNOWN)
    assert found.ids == ["c0", "c2"]
    assert found.note == "2 of 4 cases have no prediction and count as missing (coverage 0.5)"
    zero, two = found.predictions(["c0", "c2"])
    assert (zero.id, zero.report, zero.image) == ("c0", "zero", None)
    assert (two.report, two.image.getpixel((0, 0)), two.image.size) == ("two\u2028lines", (2, 0, 0), (6, 4))
    assert system.answers(task_named("image-generation"), CASES, KNOWN).ids == ["c2"]


def test_predictions_for_the_first_cases_hint_at_the_limit(folder):
    write(folder, *({"id": id, "report": "x"} for id in CASES[:3]))
    assert answers(folder).note.endswith(
        "1 of 4 cases has no prediction and counts as missing (coverage 0.75); --limit 3 scores the first 3 cases"
    )
    assert answers(folder, cases=CASES[:3]).note is None  # c4 and c5 are of the split, and not asked


def test_plain_files_are_predictions_by_their_names(folder):
    for number in (0, 1):
        (folder / "images" / f"{number}.png").rename(folder / f"c{number}.png")
    (folder / "c1.txt").write_text("\ufeffone\n", encoding="utf-8")
    (folder / "reports").mkdir()
    (folder / "reports" / "c3.txt").write_text("three", encoding="utf-8")
    for leftover in (2, 3):
        (folder / "images" / f"{leftover}.png").unlink()
    (folder / "notes.md").write_text("no prediction")
    (folder / ".hidden.txt").write_text("no prediction")
    system = PredictionFolder(folder)
    assert [(line.id, line.image is not None, line.report) for line in system.lines] == [
        ("c0", True, None),
        ("c1", True, "one"),
        ("c3", False, "three"),
    ]
    assert answers(folder).ids == ["c1", "c3"]
    assert answers(folder, "image-generation").ids == ["c0", "c1"]


def test_what_a_run_left_can_be_scored_again(folder):
    write(folder, {"id": "c1", "image": None, "report": "r", "seed": 3, "cost": {}}, name="generated.jsonl")
    assert answers(folder).predictions(["c1"])[0].report == "r"


def test_samples_answer_no_case_and_are_counted(folder):
    write(folder, *({"id": f"generated-{n}", "image": f"images/{n}.png", "report": f"r{n}"} for n in range(3)))
    found = answers(folder, "joint-generation")
    assert found.ids == ["c0", "c1", "c2"]
    assert [p.report for p in found.predictions(found.ids)] == ["r0", "r1", "r2"]
    assert "1 of 4 cases has no sample" in found.note
    fewer = answers(folder, "joint-generation", ["c0", "c1"])
    assert fewer.ids == ["c0", "c1"]
    assert fewer.note == "the folder holds 3 samples, 2 are scored"


def test_samples_that_bear_ids_of_cases_keep_them(folder):
    write(folder, {"id": "x", "report": "x"}, {"id": "c0", "report": "zero"})
    found = answers(folder, "joint-generation")
    assert {p.id: p.report for p in found.predictions(found.ids)} == {"c0": "zero", "c1": "x"}


def test_a_modality_that_is_nowhere_rules_a_task_out(folder):
    system = PredictionFolder(write(folder, {"id": "c0", "report": "x"}))
    assert system.cannot(task_named("report-generation")) is None
    assert system.cannot(task_named("long-form")) is None
    assert system.cannot(task_named("image-generation")).endswith("theirs holds no images")
    assert system.cannot(task_named("joint-generation")).endswith("theirs holds no images")


def test_images_of_any_depth_are_read_as_the_data_sets_are(folder):
    Image.fromarray(np.array([[0, 65535]], dtype=np.uint16)).save(folder / "images" / "deep.png")
    write(folder, {"id": "c0", "image": "images/deep.png"})
    (prediction,) = answers(folder, "image-generation").predictions(["c0"])
    assert (prediction.image.mode, prediction.image.getpixel((1, 0))) == ("RGB", (255, 255, 255))


def test_the_fingerprint_follows_text_pixels_and_ids(folder):
    rows = [{"id": "c0", "image": "images/0.png", "report": "x"}]
    first = PredictionFolder(write(folder, *rows)).fingerprint
    assert PredictionFolder(write(folder, {**rows[0], "note": "other"})).fingerprint == first
    assert PredictionFolder(write(folder, {**rows[0], "report": "y"})).fingerprint != first
    write(folder, *rows)
    Image.new("RGB", (6, 4), (9, 9, 9)).save(folder / "images" / "0.png")
    assert PredictionFolder(folder).fingerprint != first


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (['{"id": "c0", '], r"predictions.jsonl:1: broken JSON"),
        (['{"id": "c0", "report": "x", "report": "y"}'], r"predictions.jsonl:1: broken JSON: field 'report' stands twice"),
        (["[1]"], r":1: a prediction is a JSON object"),
        ([{"report": "x"}], r":1: field 'id' is missing; the line has 'report'"),
        ([{"ID": "c0", "report": "x"}], r":1: field 'id' is missing"),
        ([{"id": "c0", "repot": "x"}], r":1: there is neither 'image' nor 'report'; did you mean it by 'repot'\?"),
        ([{"id": "c0", "report": 3}], r":1: field 'report' must be a string, not 3"),
        ([{"id": "c0", "report": "No \ud800 effusion"}], r":1: a text holds half of a surrogate pair"),
        ([{"id": "c0", "report": "x"}, {"id": "c0", "report": "y"}], r":2: a second prediction for 'c0', after that of .*:1"),
        ([{"id": "c0", "image": "images/9.png"}], r":1: image 'images/9.png' does not exist"),
        ([{"id": "c0", "image": "images/00.png"}], r"did you mean '0.png'\?"),
        ([{"id": "c0", "image": "../secret.png"}], r":1: image '../secret.png' lies outside the folder"),
        ([{"id": "c0", "image": "/etc/passwd"}], r":1: image '/etc/passwd' lies outside the folder"),
        ([{"id": "c0", "image": "a\0b"}], r":1: image .* is no path"),
        ([{"id": "c0", "image": "predictions.jsonl"}], r":1: image 'predictions.jsonl' is no readable image"),
        (["", "x", "y"], r":2: broken JSON.* \.\.\. and 1 more"),
        ([""], "holds no predictions"),
    ],
)
def test_mistakes_in_lines_name_file_and_line(folder, rows, message):
    (folder.parent / "secret.png").write_bytes(b"")
    with pytest.raises(UserError, match=message):
        PredictionFolder(write(folder, *rows))


def test_a_link_out_of_the_folder_is_refused(folder, tmp_path):
    Image.new("L", (2, 2)).save(tmp_path / "outside.png")
    (folder / "images" / "link.png").symlink_to(tmp_path / "outside.png")
    with pytest.raises(UserError, match="lies outside the folder"):
        PredictionFolder(write(folder, {"id": "c0", "image": "images/link.png"}))


def test_an_image_that_breaks_off_is_named_by_line(folder):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "images" / "cut.png")
    path = folder / "images" / "cut.png"
    path.write_bytes(path.read_bytes()[:5000])
    found = answers(write(folder, {"id": "c0", "image": "images/cut.png"}), "image-generation")
    with pytest.raises(UserError, match=r"predictions.jsonl:1: image .*cut.png"):
        found.predictions(["c0"])


def test_an_unknown_id_is_answered_with_the_nearest(folder):
    write(folder, {"id": "c0", "report": "x"}, {"id": "c-4", "report": "x"}, {"id": "zzz", "report": "x"})
    with pytest.raises(UserError, match=r"predictions.jsonl:2: 'c-4' is no pair of this split; did you mean 'c4'\?.*1 more"):
        answers(folder)


def test_of_numbers_as_near_the_one_that_begins_alike_is_named(folder):
    write(folder, {"id": 2035, "report": "x"})
    known = dict.fromkeys(["2903", "5203", "2034", "3520"])
    with pytest.raises(UserError, match=r"'2035' is no pair of this split; did you mean '2034'\?"):
        PredictionFolder(folder).answers(task_named("report-generation"), list(known), known)


def test_predictions_of_other_cases_alone_score_nothing(folder):
    with pytest.raises(UserError, match=r"none of its 1 predictions is of the 4 cases"):
        answers(write(folder, {"id": "c5", "report": "x"}))


def test_a_file_names_its_system_and_holds_images_beside_it(folder):
    """JSON of one line: an object with an id is a row, another holds texts by id."""
    write(folder, {"id": 1, "image": "images/0.png"}, name="drawn.json")
    system = PredictionFolder(folder / "drawn.json")
    assert (system.name, system.root) == ("drawn", folder.resolve())
    assert [(line.id, line.image.name) for line in system.lines] == [("1", "0.png")]
    write(folder, {"c0": "a", "c1": ["b"], "c2": None}, name="texts.json")
    assert [(line.id, line.report) for line in PredictionFolder(folder / "texts.json").lines] == [
        ("c0", "a"),
        ("c1", "b"),
        ("c2", None),
    ]
    write(folder, {"c0": {"id": "c9", "report": "a"}}, name="twice.json")
    with pytest.raises(UserError, match=r"twice\.json: 'c0': stands under another id, 'c9', too"):
        PredictionFolder(folder / "twice.json")


def test_an_id_with_folder_and_suffix_is_its_cases_where_one_alone_fits(folder):
    write(folder, {"id": "a/c0.png", "report": "x"}, {"id": "C:\\b\\c1", "report": "y"}, {"id": "c2.JPG", "report": "z"})
    found = answers(folder)
    assert [prediction.report for prediction in found.predictions(["c0", "c1", "c2"])] == ["x", "y", "z"]
    assert found.note.startswith("3 ids are of a case without folder and suffix, such as: 'a/c0.png' is 'c0'")
    write(folder, {"id": "a/c0.png", "report": "x"})
    with pytest.raises(UserError, match=r"'a/c0\.png' is no pair of this split"):  # c0 and c0.png both are
        PredictionFolder(folder).answers(task_named("report-generation"), ["c0"], ["c0", "c0.png"])


def test_folders_that_hold_nothing_are_told(tmp_path):
    (tmp_path / "file").write_text("")
    for name, message in (("none", "does not exist"), ("file", "is empty"), (".", "holds neither predictions.jsonl nor")):
        with pytest.raises(UserError, match=message):
            PredictionFolder(tmp_path / name)
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    Image.new("L", (2, 2)).save(tmp_path / "a.jpg")
    with pytest.raises(UserError, match=r"a.png: a second prediction for 'a', after .*a.jpg"):
        PredictionFolder(tmp_path)


@pytest.fixture
def studies(folder):
    """Two studies of two images each in test, and one pair in train."""
    lines = [
        {"id": f"{study}-{image}", "study": study, "split": "test", "report": "x", "image": f"images/{image}.png"}
        for study in ("s0", "s1")
        for image in (0, 1)
    ]
    lines.append({"id": "t0", "split": "train", "report": "x", "image": "images/2.png"})
    write(folder, *lines, name="pairs.jsonl")
    return FolderDataset(folder)


def test_predictions_that_match_no_case_are_counted_with_their_reasons(folder, studies):
    write(folder, *({"id": id, "report": "r"} for id in ("s0-0", "s0-1", "s1-0", "s1-1", "t0")))
    known = SplitIds(studies, "test", ["s0-0"])
    found = PredictionFolder(folder).answers(task_named("report-generation"), ["s0-0"], known)
    assert found.ids == ["s0-0"]
    assert found.note == (
        "4 of the 5 predictions match no case and are not scored: 2 second image of its study, "
        "1 beyond the first cases (--limit), 1 of split train"
    )
    both = PredictionFolder(folder).answers(
        task_named("report-generation"), ["s0-0", "s1-0"], SplitIds(studies, "test", ["s0-0", "s1-0"])
    )
    assert both.note.endswith("not scored: 2 second image of its study, 1 of split train")


def test_an_unknown_id_is_a_mistake_and_one_of_no_case_alone_says_why(folder, studies):
    known = SplitIds(studies, "test", ["s0-0", "s1-0"])
    write(folder, {"id": "s0-0", "report": "r"}, {"id": "s1-O", "report": "r"})
    with pytest.raises(UserError, match=r":2: 's1-O' is no pair .*did you mean 's1-[01]'\?; `medim-bench data ids DATA`"):
        PredictionFolder(folder).answers(task_named("report-generation"), ["s0-0", "s1-0"], known)
    write(folder, {"id": "t0", "report": "r"})
    with pytest.raises(
        UserError, match=r"none of its 1 predictions is of the 2 cases to be scored: 1 of the 1 .* 1 of split train"
    ):
        PredictionFolder(folder).answers(task_named("report-generation"), ["s0-0", "s1-0"], known)


def lines_of(folder, text: str | bytes, name="theirs.csv", **options):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return PredictionFolder(folder / name, **options).lines


def test_a_report_of_nothing_is_missing_in_every_form(folder):
    """The note says the coverage that the records have: a blank report counts as missing there (`reports_of`)."""
    table, array = "id,report\nc0,\nc1,x\n", '[{"id": "c0", "report": %s}, {"id": "c1", "report": "x"}]'
    for text, name in ((table, "a.csv"), (array % '" "', "a.json"), (array % "null", "b.json")):
        lines_of(folder, text, name)
        found = PredictionFolder(folder / name).answers(task_named("report-generation"), CASES[:2], KNOWN)
        assert (found.ids, found.note) == (["c1"], "1 of 2 cases has no prediction and counts as missing (coverage 0.5)")
    lines_of(folder, "id,image,report\nc0,images/0.png,\n", "b.csv")
    assert "holds no reports" in PredictionFolder(folder / "b.csv").cannot(task_named("report-generation"))
    assert [line.image for line in lines_of(folder, "id,image,report\nc0,,x\n")] == [None]


@pytest.mark.parametrize(
    "row",
    [
        {"id": "c0", "report": "reference", "prediction": "x"},
        {"id": "c0", "report": "reference", "generated_report": ["x"]},
        {"question_id": "c0", "answer": "reference", "model_output": "x"},
        {"image_id": "c0", "caption": "reference", "hypothesis": "x"},
    ],
)
def test_a_reference_is_not_taken_for_the_report_beside_it(folder, row):
    name = list(row)[-1]
    with pytest.raises(UserError, match=rf"the report may be .* or '{name}'; .* --map id=\w+,report={name}$"):
        lines_of(folder, json.dumps([row]), "a.json")
    given = {"id": next(iter(row)), "report": name}
    assert [line.report for line in lines_of(folder, json.dumps([row]), "a.json", given=given)] == ["x"]


def test_a_field_is_mapped_once():
    with pytest.raises(UserError, match="--map says report twice: 'a' and 'b'"):
        parse_map(["id=x,report=a", "report=b"])


def test_counts_and_times_beside_a_report_are_no_reports(folder):
    (line,) = lines_of(folder, "id,report,output_tokens,generation_time\nc0,x,120,0.5\n")
    assert line.report == "x"


def test_forms_that_agree_on_the_report_are_no_choice(folder):
    (line,) = lines_of(folder, '{"study": 1, "text": "x"}\n', "a.jsonl", given={"id": "study"})
    assert (line.id, line.report) == ("1", "x")


def test_two_columns_of_one_name_are_refused(folder):
    with pytest.raises(UserError, match=r"theirs\.csv: two columns are called 'report'"):
        lines_of(folder, "id,report,report\nc0,a,b\n")
    table = pa.table([pa.array(["c0"]), pa.array(["a"]), pa.array(["b"])], names=["id", "report", "report"])
    pq.write_table(table, folder / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet: two columns are called 'report'"):
        PredictionFolder(folder / "a.parquet")


def test_a_missing_value_as_text_is_no_report(folder):
    with pytest.raises(UserError, match=r"theirs\.csv:3: field 'report' is 'NaN', which is no report"):
        lines_of(folder, "id,report\nc0,x\nc1,NaN\n")


def test_bytes_of_other_systems_leave_ids_and_reports_as_they_are(folder):
    """A byte order mark, CRLF, a quoted report of two lines, leading zeros."""
    text = b'\xef\xbb\xbfid,report\r\n007,"a ""b"",\r\nc"\r\n7,d\r\n'
    assert [(line.id, line.report) for line in lines_of(folder, text)] == [("007", 'a "b",\r\nc'), ("7", "d")]


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfid,study\r\nc0,s\r\nc1,s\r\n",
        b'"id"\n"c0"\n"c1"\n',
        b"study;id\ns;c0\ns;c1\n",
        b'{"id": "c0"}\n{"id": "c1"}\n',
        b"c0\nc1\n",
    ],
)
def test_ids_are_read_from_a_table_as_any_program_saves_it(folder, text):
    (folder / "ids.csv").write_bytes(text)
    assert read_ids(folder / "ids.csv") == ["c0", "c1"]


def test_references_come_with_answers_alone(folder):
    """A sample stands for any case: what its row says of its reference is of no case."""
    write(folder, {"id": "x", "report": "x", "ref": "of x"}, {"id": "c0", "report": "zero", "ref": ["of zero", "more"]})
    samples = PredictionFolder(folder, given={"report": "report", "references": "ref"})
    assert samples.answers(task_named("joint-generation"), CASES, KNOWN).references == {}
    write(folder, {"id": "c0", "report": "zero", "ref": ["of zero", "more"]})
    found = PredictionFolder(folder, given={"references": "ref"}).answers(task_named("report-generation"), CASES, KNOWN)
    assert found.references == {"c0": ("of zero", "more")}
