import os
import re

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import save_file

from medim.common.errors import UserError
from medim.common.files import (
    atomic_path,
    file_name,
    located,
    read_json,
    read_mapping,
    read_text,
    write_bytes,
    write_json,
    writes_into,
)


@pytest.mark.parametrize("umask", [0o077, 0o027, 0o002])
def test_the_umask_says_who_may_read(tmp_path, umask):
    before = os.umask(umask)
    try:
        with atomic_path(tmp_path / "a" / "x.txt") as temporary:
            temporary.write_text("credentialed")
    finally:
        os.umask(before)
    assert (tmp_path / "a" / "x.txt").stat().st_mode & 0o777 == 0o666 & ~umask
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o777 & ~umask


def test_weights_are_no_exception(tmp_path):
    before = os.umask(0o027)
    try:
        with atomic_path(tmp_path / "x.safetensors") as temporary:
            save_file({"a": np.zeros(2)}, temporary)
    finally:
        os.umask(before)
    assert (tmp_path / "x.safetensors").stat().st_mode & 0o777 == 0o640


def test_a_failure_leaves_the_old_file_and_no_rest(tmp_path):
    write_json(tmp_path / "x.json", {"old": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "x.json", {"new": object()})
    assert (tmp_path / "x.json").read_text() == '{\n  "old": 1\n}\n'
    assert list(tmp_path.iterdir()) == [tmp_path / "x.json"]


def test_names_that_no_file_has_are_told_alike_in_every_python(tmp_path):
    (tmp_path / "a").write_text("x")
    (tmp_path / "circle").symlink_to("circle")
    assert located(tmp_path, "a") == ((tmp_path / "a").resolve(), True)
    assert located(tmp_path, "../b")[0] == tmp_path.resolve().parent / "b"
    assert not located(tmp_path, "circle")[1]
    assert not located(tmp_path, "circle/b")[1]
    for name, message in (("a\0b", "^it holds"), ("a\ud800", "^it holds"), ("a" * 300, "^File name too long$")):
        with pytest.raises(ValueError, match=message):
            located(tmp_path, name)


def test_a_byte_order_mark_is_no_part_of_the_value(tmp_path):
    path = tmp_path / "a.json"
    for mark in (b"", b"\xef\xbb\xbf"):
        path.write_bytes(mark + '{"a": "é"}'.encode())
        assert read_json(path) == {"a": "é"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "is a git-LFS pointer"),
        (b"\xef\xbb\xbf <HTML>", "is a web page"),
        (b'{"a": 1,}', "column "),
        (b'{"a": "\xff"}', "not UTF-8: byte 8"),
        (b"[" * 5000 + b"]" * 5000, "lists and objects are nested more than 100 deep"),
        (b'{"a": ' * 101 + b"1" + b"}" * 101, "lists and objects are nested more than 100 deep"),
        (b"[" * 100 + b"]" * 100, "an object of fields is needed"),
        (b'{"a": ' + b"9" * 6000 + b"}", "broken JSON"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b'"abc"', "holds 'abc': an object of fields is needed"),
        (b"[1]", "holds [1]"),
        (b"null", "holds None"),
    ],
)
def test_what_is_no_object_of_fields_is_one_line(tmp_path, content, said):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.json'") as error:
        read_mapping(path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"a\.json' does not exist"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    "told",
    [
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 57280 vs 57172"),
        RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed"),
    ],
)
def test_a_full_disk_is_an_error_of_the_system_whoever_tells_it(tmp_path, told):
    said = r"cannot be written to: no space left on the device, or a quota \(\d+ MB are free\)"
    with pytest.raises(OSError, match=said), writes_into(tmp_path):
        raise told


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(RuntimeError, match="shapes"), writes_into(tmp_path):
        raise RuntimeError("shapes differ")


def test_a_field_that_stands_twice_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"a": {"b": 1, "b": 2}}')
    with pytest.raises(UserError, match=r"a\.json' cannot be read: broken JSON: field 'b' stands twice"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize("name", ["phantom-test-00012", "a", "My model v2 (large)"])
def test_harmless_names_stay(name):
    assert file_name(name) == name


@pytest.mark.parametrize("name", ["../x", ".hidden", "a/b", "", "x" * 200, "é", "a\nb", "trailing."])
def test_other_names_become_hashes(name):
    assert re.fullmatch(r"[0-9a-f]{16}", file_name(name))
    assert file_name(name) != file_name(name + "!")


def test_text_is_utf8_with_its_own_line_ends(tmp_path):
    write_bytes(tmp_path / "a" / "x.txt", b"\xc3\xa9\r\nb\n")
    assert read_text(tmp_path / "a" / "x.txt") == "\N{LATIN SMALL LETTER E WITH ACUTE}\nb\n"
    write_bytes(tmp_path / "a" / "x.txt", b"\xe9")
    with pytest.raises(UserError, match=r"x\.txt' cannot be read: not UTF-8: byte 1"):
        read_text(tmp_path / "a" / "x.txt")
    with pytest.raises(UserError, match=r"y\.txt' does not exist"):
        read_text(tmp_path / "y.txt")
