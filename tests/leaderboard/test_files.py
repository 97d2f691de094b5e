import pytest

from leaderboard.files import atomic_path, write_bytes, write_text


def test_text_is_utf8_with_its_own_line_ends(tmp_path):
    write_text(tmp_path / "a" / "x.txt", "é\r\nb\n")
    assert (tmp_path / "a" / "x.txt").read_bytes() == b"\xc3\xa9\r\nb\n"


def test_a_failure_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "x.bin"
    write_bytes(path, b"old")

    def fail():
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
