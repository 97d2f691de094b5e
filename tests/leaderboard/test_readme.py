import pytest

from leaderboard.readme import BEGIN, END, rewrite
from medim.common.errors import UserError

TASKS = ("report-generation", "joint-generation")


def test_the_block_is_rewritten_and_nothing_else(make_run, tmp_path):
    runs = [
        make_run("a", tasks=TASKS, samples=0),
        make_run("b", run="bbbb", model="other", quality=0.5, tasks=TASKS, samples=0),
    ]
    file, picture = tmp_path / "README.md", tmp_path / "pictures" / "board.png"
    file.write_text(f"# Title\n\n{BEGIN}\nold\n{END}\n\nThe end.\n")
    rewrite(file, runs, picture)
    text = file.read_text()
    assert text.startswith(f"# Title\n\n{BEGIN}\n\n**Report generation on phantom, test** (synthetic")
    assert text.endswith(f"{END}\n\nThe end.\n")
    assert "| phantom-tiny | 256 | 100 % | **0.850** a (0.820 to 0.880)" in text
    assert "*real* (anchor)" in text
    assert "old" not in text
    assert "](pictures/board.png)" in text
    assert "prevalence" not in text
    assert picture.read_bytes().startswith(b"\x89PNG")
    rewrite(file, runs, picture)
    assert file.read_text() == text


def test_without_marks_or_anything_to_show_the_file_stays(make_run, tmp_path):
    file = tmp_path / "README.md"
    file.write_text("# Title\n")
    run = make_run(tasks=TASKS, samples=0)
    with pytest.raises(UserError, match=r"README\.md: the block to rewrite begins with the line <!-- leaderboard: begin"):
        rewrite(file, [run], tmp_path / "p.png")
    file.write_text(f"{BEGIN}\n{END}\n")
    records = run / "records.jsonl"
    records.write_text(records.read_text().replace('"protocol": "strict-v1"', '"protocol": "as-given"'))
    with pytest.raises(UserError, match="nothing to show"):
        rewrite(file, [run], tmp_path / "p.png")
    assert file.read_text() == f"{BEGIN}\n{END}\n"
    assert not (tmp_path / "p.png").exists()
