import gzip

import pytest

from medim.common.errors import UserError
from medim.data.archives.archive import Loss
from medim.data.archives.tables import Row, decoded, read_header, read_table

TEXT = 'id,image,report\n0001,a.png,"Größe, 1e0"\n1e0,b.png,nan\n12E5,c.png,\n'
CELLS = [["0001", "a.png", "Größe, 1e0"], ["1e0", "b.png", "nan"], ["12E5", "c.png", ""]]


def cells(path, needed=("id", "report")):
    return [list(row.cells.values()) for row in read_table(path, needed) if isinstance(row, Row)]


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_as_spreadsheets_save_it(tmp_path, separator, encoding, ends):
    text = TEXT.replace("Größe,", "Größe\0").replace(",", separator).replace("Größe\0", f"Größe{separator}").replace("\n", ends)
    (tmp_path / "x.csv").write_bytes(text.encode(encoding))
    expected = [[cell.replace("Größe,", f"Größe{separator}") for cell in row] for row in CELLS]
    assert cells(tmp_path / "x.csv") == expected
    assert read_header(tmp_path / "x.csv") == ["id", "image", "report"]
    assert [row.line for row in read_table(tmp_path / "x.csv", ())] == [2, 3, 4]


def test_other_separators_in_a_header_do_not_mislead(tmp_path):
    (tmp_path / "x.csv").write_text('id,"a;b;c;d",report\n1,2,3\n')
    assert cells(tmp_path / "x.csv") == [["1", "2", "3"]]


def test_the_line_of_excel_that_says_the_separator(tmp_path):
    (tmp_path / "x.csv").write_text("sep=;\nid;report\n01;a, b\n;;\n\n")
    assert cells(tmp_path / "x.csv") == [["01", "a, b"]]


def test_lines_before_the_header_are_passed_over_and_a_second_header_is_no_row(tmp_path):
    (tmp_path / "x.csv").write_text("\n,,\nid,report\n1,a\n id ,report\n2,b\n")
    assert list(read_table(tmp_path / "x.csv", ("id",))) == [
        Row(4, {"id": "1", "report": "a"}),
        Loss("x.csv:5", "the header stands here again"),
        Row(6, {"id": "2", "report": "b"}),
    ]


def test_gzipped_and_with_cells_that_spare_the_end(tmp_path):
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(b"id,report,\n1,a,\n2,b,,,\n"))
    assert cells(tmp_path / "x.csv.gz") == [["1", "a"], ["2", "b"]]


def test_a_row_is_lost_alone_and_by_its_line(tmp_path):
    (tmp_path / "x.csv").write_bytes(b'id,report\n1,Gr\xf6sse\n2,a,b\n3\n4,"x"y\n5,"two\nlines"\n6,"open\n7,z\n')
    rows = list(read_table(tmp_path / "x.csv", ("id",)))
    assert [row.cells["id"] for row in rows if isinstance(row, Row)] == ["5"]
    assert [(row.item, row.reason.split(";")[0].split("(")[0].strip()) for row in rows if isinstance(row, Loss)] == [
        ("x.csv:2", "column 'report' is not UTF-8"),
        ("x.csv:3", "the row has more cells than there are columns"),
        ("x.csv:4", "the row ends before column 'report'"),
        ("x.csv:5", "broken CSV: ',' expected after '\"'"),
        ("x.csv:8", "broken CSV: unexpected end of data"),
    ]
    assert rows[-1].reason.endswith("1 more lines are lost with it")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"id,text\n", "column 'report' is missing; the columns are: "),
        (b"id,report,report\n", "two columns are called 'report'"),
        (b"PK\x03\x04\x00\x00", r"the header is no text in UTF-8 .*; save the file as UTF-8 and CSV"),
        ("id,report\n".encode("utf-16-le"), "the header is no text in UTF-8"),
        (b"", "is empty: its download or copy did not end"),
        (b"\n\n", "column 'id' is missing; the columns are: none"),
        (b"<!DOCTYPE html><html>", "is a web page or a server's message, not the file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a git-LFS pointer, not the file itself"),
        (b"text,view,ID,report\n", "column 'id' is missing; the columns are: ID, "),
    ],
)
def test_no_table(tmp_path, content, says):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(UserError, match=says):
        list(read_table(tmp_path / "x.csv", ("id", "report")))


def test_a_text_file():
    assert [decoded("Größe".encode(encoding)) for encoding in ("utf-8", "utf-8-sig", "utf-16")] == ["Größe"] * 3
    with pytest.raises(UserError, match="not UTF-8: byte 3; save the file as UTF-8"):
        decoded("Größe".encode("latin-1"))
