import json
import tracemalloc

import pytest

from medim.common.errors import UserError
from medim.data.archives.archive import Loss
from medim.data.archives.json_records import Entry, find_json, read_entries

VALUES = [{"a": 1, "b": [1.5, {"c": None}]}, [1, [2, []], {}], "text", 3, True, {}, []]


def write(path, text):
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_list_is_read_as_json_reads_it(tmp_path, indent, mark):
    file = write(tmp_path / "a.json", mark + json.dumps(VALUES, indent=indent).encode())
    entries = list(read_entries(file))
    assert entries == [Entry(None, number, value) for number, value in enumerate(VALUES, start=1)]
    assert [type(entry.value) for entry in entries] == [type(value) for value in VALUES]


def test_an_object_of_lists_keeps_keys_and_order(tmp_path):
    value = {"train": VALUES, "a.b item": [], "    ": [{"x": {"y": [1]}}], "test": VALUES[:2]}
    entries = list(read_entries(write(tmp_path / "a.json", json.dumps(value))))
    assert entries == [Entry(key, n, item) for key, items in value.items() for n, item in enumerate(items, start=1)]
    assert entries[len(VALUES)].name(tmp_path / "a.json") == "a.json, '    ', entry 1"


def test_lines_keep_what_is_sound(tmp_path):
    text = b'{"a": "x\xe2\x80\xa8y"}\n\n{"a": \n"\xff"\n[1]'
    text += b'\n"\\ud83d\\ude00"\n"\\uD800"'
    first, broken, damaged, last, pair, half = read_entries(write(tmp_path / "a.jsonl", text))
    assert pair == Entry(None, 6, "\U0001f600")
    assert half == Loss("a.jsonl:7", "a text holds half of a surrogate pair")
    assert first == Entry(None, 1, {"a": "x\u2028y"})
    assert isinstance(broken, Loss)
    assert broken.item == "a.jsonl:3"
    assert "broken JSON" in broken.reason
    assert damaged == Loss("a.jsonl:4", "not UTF-8: byte 2")
    assert last == Entry(None, 5, [1])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[{"a": 1}, {"a": 2}, {"a"', "broken JSON after entry 2"),
        ('{"train": [{"a": 1}, {"a": nonsense}]}', "broken JSON after entry 1 of 'train'"),
        ("", "broken JSON"),
        ("7", "a list or an object of lists is needed"),
        (
            '{"train": [1, ' + "[" * 101 + "]" * 101 + "]}",
            "entry 2 of 'train': lists and objects are nested more than 100 deep",
        ),
        ("[" + '{"a": ' * 5000 + "1" + "}" * 5000 + "]", "entry 1: lists and objects are nested more than 100 deep"),
        ('{"info": {"year": 1}, "train": []}', "'info' holds no list"),
        ("[1, 2] 3", "broken JSON after entry 2: the file's end is expected"),
        ("[1 2]", "broken JSON after entry 1: ',' is expected"),
        ("[1, ]", "broken JSON after entry 1: Expecting value"),
        ('{"train": [1] "test": []}', "broken JSON after entry 1 of 'train': ',' is expected"),
    ],
)
def test_a_mistake_is_placed(tmp_path, text, says):
    with pytest.raises(UserError, match=says) as error:
        list(read_entries(write(tmp_path / "a.json", text)))
    assert "a.json" in str(error.value)


def test_memory_does_not_grow_with_the_file(tmp_path):
    file = tmp_path / "a.json"
    with file.open("w") as stream:
        stream.write("[" + ",".join(json.dumps({"id": n, "text": "word " * 200}) for n in range(8000)) + "]")
    assert file.stat().st_size > 8e6
    tracemalloc.start()
    try:
        assert sum(isinstance(entry, Entry) for entry in read_entries(file)) == 8000
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


def test_the_file_is_found_or_must_be_named(tmp_path):
    with pytest.raises(UserError, match=r"holds no a\*\.json: name the file with annotation="):
        find_json(tmp_path, "", ("a*.json",), "annotation")
    one = write(tmp_path / "a1.json", "[]")
    assert find_json(tmp_path, "", ("a*.json", "*1.json"), "annotation") == one
    assert find_json(one, "", ("a*.json",), "annotation") == one
    write(tmp_path / "a2.json", "[]")
    with pytest.raises(UserError, match=r"holds several of a\*\.json \(a1\.json, a2\.json\)"):
        find_json(tmp_path, "", ("a*.json",), "annotation")
    assert find_json(tmp_path, "a1.json", ("a*.json",), "annotation") == one
    with pytest.raises(UserError, match=r"a3\.json' does not exist \(option annotation\)"):
        find_json(tmp_path, "a3.json", ("a*.json",), "annotation")


def test_a_file_that_cannot_be_opened(tmp_path):
    with pytest.raises(UserError, match="cannot be read: No such file"):
        list(read_entries(tmp_path / "none.json"))


@pytest.mark.parametrize("wide", [0, 100_000])
def test_numbers_that_are_none_are_read_as_python_writes_them(tmp_path, wide):
    """Wherever the parser's blocks end, and beside texts that hold the same words."""
    text = 'NaN, \\ "Infinity" ' + "é" * wide
    values = [{"a": text, "b": float("nan"), "c": [1, float("-inf"), text]}, {"b": 1, "NaN": "NaN"}, {"b": float("inf")}]
    for value in ({"train": values, "test": values[:1]}, values):
        entries = list(read_entries(write(tmp_path / "a.json", json.dumps(value, ensure_ascii=False))))
        assert repr([entry.value for entry in entries[:3]]) == repr(values)
        assert len(entries) == (4 if isinstance(value, dict) else 3)
    write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, values)))
    assert repr([entry.value for entry in read_entries(tmp_path / "a.jsonl")]) == repr(values)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_and_line_ends(tmp_path, encoding):
    values = [{"a": "Größe"}, {"a": "NaN", "b": 2}]
    listed = json.dumps(values, ensure_ascii=False, indent=1).replace("\n", "\r\n")
    lines = "\r\n".join(json.dumps(value, ensure_ascii=False) for value in values)
    for name, text in (("a.json", listed), ("b.jsonl", lines), ("c.json", lines)):  # the last: lines by another name
        assert [entry.value for entry in read_entries(write(tmp_path / name, text.encode(encoding)))] == values


def test_an_entry_whose_field_stands_twice_is_lost_alone(tmp_path):
    text = '{"train": [{"a": 1, "b": {"a": 2}}, {"a": 1, "a": 2}, {"b": [{"c": 1, "c": 1}]}, {"a": 3}]}'
    first, twice, inside, last = read_entries(write(tmp_path / "a.json", text))
    assert (first, last) == (Entry("train", 1, {"a": 1, "b": {"a": 2}}), Entry("train", 4, {"a": 3}))
    assert twice == Loss("a.json, 'train', entry 2", "field 'a' stands twice")
    assert inside == Loss("a.json, 'train', entry 3", "field 'c' stands twice")


def test_whole_numbers_of_any_size_and_other_numbers_as_floats(tmp_path):
    text = "[123456789012345678901234, -9223372036854775809, 1e5, 1.10, -0.0]"
    values = [entry.value for entry in read_entries(write(tmp_path / "a.json", text))]
    assert list(map(repr, values)) == ["123456789012345678901234", "-9223372036854775809", "100000.0", "1.1", "-0.0"]


def test_half_of_a_surrogate_pair_is_lost_with_its_entry_wherever_the_blocks_end(tmp_path):
    """Whole pairs, and a backslash before a u, are texts."""
    for before in range(65520, 65544):
        parts = [r'"\ud83d\ude00"', r'"\\ud83d"', r'"\uDE00"', r'"x\ud83d"']
        file = write(tmp_path / "a.json", f'["{"x" * before}", {", ".join(parts)}]')
        _, pair, backslash, *halves = read_entries(file)
        assert (pair.value, backslash.value) == ("\U0001f600", "\\ud83d")
        assert [half.reason for half in halves] == ["a text holds half of a surrogate pair"] * 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "is a git-LFS pointer"),
        (b"<html>", "is a web page"),
        (b'[{"a": "caf\xe9"}]', "broken JSON: not UTF-8; save the file as UTF-8"),
    ],
)
def test_what_is_no_json_in_utf8_is_told_by_what_it_is(tmp_path, content, says):
    with pytest.raises(UserError, match=says):
        list(read_entries(write(tmp_path / "a.json", content)))


@pytest.mark.parametrize("value", [12.75, -3, float("-inf"), True, None, "\u00e9\\", {"a": [1.5]}])
def test_a_value_is_whole_wherever_the_blocks_end(tmp_path, value):
    for before in range(65500, 65540):
        file = write(tmp_path / "a.json", json.dumps(["x" * before, value, 7]))
        assert [entry.value for entry in read_entries(file)][1:] == [value, 7]


def test_an_entry_larger_than_a_block(tmp_path):
    value = {"a": ["word"] * 100_000}
    assert [entry.value for entry in read_entries(write(tmp_path / "a.json", json.dumps([value, 1])))] == [value, 1]
