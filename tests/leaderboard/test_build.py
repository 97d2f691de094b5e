import itertools
import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

import leaderboard.build
from leaderboard.build import build
from leaderboard.plots.curves import EVERY
from leaderboard.record import read_records
from leaderboard.reported import reported_records
from leaderboard.tables.formats import long_csv
from medim.common.errors import UserError
from medim.common.files import write_text
from medim.common.locks import held

EVIL = '</script><script>alert("x")</script><img src=x onerror=alert(1)> & "quoted"'


class Page(HTMLParser):
    """Balances tags and collects what a test asks of the page."""

    VOID = frozenset({"meta", "img", "input", "br", "link", "hr"})

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.words = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def built(tmp_path_factory, run_writer):
    """Two models on synthetic data, one on a small real set, one on a set whose samples are withheld."""
    root = tmp_path_factory.mktemp("leaderboard")
    two = ("image-generation", "report-generation")
    runs = [
        run_writer(root / "a", report=EVIL, samples=3),
        run_writer(root / "b", run="bbbb", model="other<b>", quality=0.5, tasks=two, samples=1, terms="CC0"),
        run_writer(
            root / "c", run="cccc", dataset="cxr", fingerprint="c", synthetic=False, n=40, tasks=two, samples=1, side=200
        ),
        run_writer(
            root / "d",
            run="dddd",
            dataset="mimic-cxr",
            fingerprint="d",
            synthetic=False,
            tasks=two[1:],
            samples=2,
            withhold=True,
            report="PRIVATE WORDS",
            terms="PhysioNet credentialed",
        ),
    ]
    result = build(runs, root / "out")
    page = result.paths["page"].read_text(encoding="utf-8")
    return {"runs": runs, "out": root / "out", "result": result, "html": page, "page": Page(page)}


def test_all_files_are_there(built):
    names = {path.relative_to(built["out"]).as_posix() for path in built["out"].rglob("*") if path.is_file()}
    assert {"index.html", "leaderboard.csv", "leaderboard_wide.csv", "leaderboard.md", "results.jsonl"} <= names
    assert names == {".lock", *(path.relative_to(built["out"]).as_posix() for path in built["result"].paths.values())}
    assert sum(name.startswith("plots/") for name in names) >= 6


def test_results_and_csv_hold_every_record(built):
    measured = [record for run in built["runs"] for record in read_records(run / "records.jsonl")]
    every = [*measured, *reported_records()]
    assert built["result"].n_records == len(every)
    assert read_records(built["out"] / "results.jsonl") == every
    assert (built["out"] / "leaderboard.csv").read_text(encoding="utf-8") == long_csv(every)
    wide = pd.read_csv(built["out"] / "leaderboard_wide.csv")
    row = wide[(wide["model"] == "phantom-tiny") & (wide["dataset"] == "phantom")].iloc[0]
    assert row["report-generation/macro finding F1"] == 0.85


def test_the_page_is_whole_html(built):
    page = built["page"]
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    links = [attrs["href"][1:] for tag, attrs in page.tags if tag == "a" and attrs["href"].startswith("#")]
    assert links
    assert set(links) <= set(page.ids)
    headings = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(headings))
    assert all(attrs.get("alt") for tag, attrs in page.tags if tag == "img")


def test_the_page_needs_nothing_but_itself(built):
    for tag, attrs in built["page"].tags:
        if "src" in attrs:
            assert attrs["src"].startswith("data:"), tag
        if "href" in attrs:
            assert attrs["href"].startswith("#") or (built["out"] / attrs["href"]).is_file()
    assert not re.search(r"""(src|href)\s*=\s*["']?\s*(https?:)?//""", built["html"])
    assert "url(" not in built["html"]
    assert "@import" not in built["html"]
    assert len(built["html"].encode()) < 25_000_000


def test_reports_and_names_are_escaped(built):
    assert "<script>alert" not in built["html"]
    assert "<img src=x" not in built["html"]
    assert EVIL in built["page"].text
    assert "other<b>" in built["page"].text
    assert [tag for tag, _ in built["page"].tags].count("script") == 1


def test_synthetic_data_say_so(built):
    assert built["page"].text.count("Phantoms are synthetic:") == 1


def test_withheld_samples_are_nowhere(built):
    assert "Samples are withheld" in built["page"].text
    for path in built["result"].paths.values():
        assert b"PRIVATE WORDS" not in path.read_bytes(), path


def test_blanks_give_their_reason_and_small_data_are_not_ranked(built):
    text = built["page"].text
    assert "METEOR 1.5 needs Java (no `java` on the PATH)" in text
    assert "40 cases: ranking needs 100" in text
    assert "the data set has no finding checker" in text


def test_reported_numbers_stand_apart(built):
    before, after = built["html"].split('id="reported"')
    assert ">120.28<" in after
    assert ">16.60<" in after
    assert "120.28" not in before
    assert "the two are not comparable, and nothing is ranked" in after


def test_only_measured_rows_are_marked_best(built):
    bodies = re.findall(r'<tbody class="(models|anchors)">(.*?)</tbody>', built["html"], re.DOTALL)
    best = {kind: sum(body.count("value best") for k, body in bodies if k == kind) for kind in ("models", "anchors")}
    assert best["models"] > 0
    assert best["anchors"] == 0


def test_signatures_and_commands_can_be_read(built):
    assert "medim-bench run all --model phantom-tiny --data phantom --out a" in built["page"].text
    assert '"model": "phantom-tiny-hash"' in built["page"].text


def test_a_second_build_is_the_same(built, tmp_path):
    again = build(built["runs"], tmp_path / "again")
    for role, path in built["result"].paths.items():
        assert path.read_bytes() == again.paths[role].read_bytes(), role


def test_a_failed_build_leaves_the_old_files(make_run, tmp_path, monkeypatch):
    run = make_run(tasks=("report-generation",), samples=1)
    out = tmp_path / "out"
    build([run], out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    records = (run / "records.jsonl").read_text()
    line = json.loads(records.splitlines()[0])
    (run / "records.jsonl").write_text(records + json.dumps(line | {"value": 0.123}) + "\n")
    with pytest.raises(UserError, match="conflicts with"):
        build([run], out)
    (run / "records.jsonl").write_text(records.replace('"value": ', '"valu": ', 1))
    with pytest.raises(UserError, match=r"records\.jsonl:1: "):
        build([run], out)
    (run / "records.jsonl").write_text(records)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(leaderboard.build, "render", killed)
    with pytest.raises(KeyboardInterrupt):
        build([run], out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_plots_of_an_earlier_build_go_and_files_of_others_stay(make_run, tmp_path):
    plots = tmp_path / "out" / "plots"
    theirs = [plots / "my-figure.pdf", plots / "v1.0" / "old.png", tmp_path / "out" / "outside.png"]
    for path in theirs:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mine")
    first = build([make_run("a", samples=6)], tmp_path / "out")
    listing = plots / "files.txt"
    listing.write_text(listing.read_text() + "../outside.png\nv1.0\n")  # not what a build writes
    second = build([make_run("b", tasks=("report-generation",), samples=0)], tmp_path / "out")
    ours = {path for path in second.paths.values() if path.parent == plots}
    assert {path for path in first.paths.values() if path.parent == plots} > ours
    assert {path for path in plots.rglob("*") if path.is_file()} == ours | set(theirs[:2])
    assert all(path.read_bytes() == b"mine" for path in theirs)
    assert listing.read_text().splitlines() == sorted(path.name for path in ours - {listing})


def test_what_an_interrupted_build_wrote_goes_too(make_run, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    plots = tmp_path / "out" / "plots"
    build([make_run("a", samples=0, dataset="first")], tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(
            leaderboard.build, "write_text", lambda path, text: killed() if path.suffix == ".csv" else write_text(path, text)
        )
        with pytest.raises(KeyboardInterrupt):
            build([make_run("b", samples=0, dataset="second")], tmp_path / "out")
    build([make_run("c", samples=0, dataset="third")], tmp_path / "out")
    assert {path.name.partition("-")[0] for path in plots.glob("*.png")} == {"third"}


@pytest.fixture
def lengths_drawn(monkeypatch):
    """The models of the length plots, with the place of each in its table, by the plot's name."""
    seen = {}
    draw = leaderboard.build.length_plot

    def drawn(title, lengths, models, name):
        seen[name] = {label: (models.index(label), words.generated[EVERY][0]) for label, words in lengths.items()}
        return draw(title, lengths, models, name)

    monkeypatch.setattr(leaderboard.build, "length_plot", drawn)
    return seen


def test_lengths_are_of_the_rows_of_their_table(run_writer, tmp_path, lengths_drawn):
    """Each protocol has its own runs, labels are those of the table, and a model has one colour in all plots."""
    task = ("report-generation",)
    runs = [
        run_writer(tmp_path / "a", run="a" * 16, model="bad", quality=0.2, tasks=task, report="one"),
        run_writer(tmp_path / "b", run="b" * 16, model="good", quality=0.9, tasks=task, report="one two"),
        run_writer(
            tmp_path / "c", run="c" * 16, model="bad", quality=0.1, tasks=task, report="one two three", seed=1, anchors={}
        ),
        run_writer(tmp_path / "d", run="d" * 16, model="bad", quality=0.3, tasks=task, report="one two three four"),
    ]
    records = runs[3] / "records.jsonl"
    records.write_text(records.read_text().replace('"strict-v1"', '"medim-paper-v1"'))
    result = build(runs, tmp_path / "out")
    rows = {board.protocol: [row.label for row in board.tables[0].rows if row.kind == "measured"] for board in result.boards}
    assert rows["strict-v1"] == ["good", "bad (seed 0)", "bad (seed 1)"]
    strict, paper = lengths_drawn.values()
    assert strict == {"good": (0, 2), "bad (seed 0)": (1, 1), "bad (seed 1)": (2, 3)}
    assert paper == {"bad": (0, 4)}


def test_nothing_to_build_is_an_error(tmp_path):
    with pytest.raises(UserError, match="nothing to build"):
        build([], tmp_path)


def test_a_page_of_too_many_runs_is_refused_and_nothing_is_written(make_run, tmp_path, monkeypatch):
    run = make_run(samples=2)
    monkeypatch.setattr(leaderboard.build, "PAGE_BYTES", 20_000)
    with pytest.raises(UserError, match=r"would take .* bytes \(limit 20,000\): build it of fewer runs"):
        build([run], tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]
    for late in ("galleries", "table_plots"):
        monkeypatch.setattr(leaderboard.build, late, None)
    with pytest.raises(UserError, match=r"would take .* bytes \(limit 20,000\): build it of fewer runs"):
        leaderboard.build.check_size([run])  # before anything is compared or drawn


def test_a_folder_that_another_build_writes_into_is_refused(make_run, tmp_path):
    run = make_run(samples=0)
    with held(tmp_path / "out"), pytest.raises(UserError, match="out' is being worked on by another process"):
        build([run], tmp_path / "out")
