import pytest

from medim.common.errors import ForeignError, UserError, foreign, one_line, plain


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\x1b[31mred\x1b[0m and \x1b[1;4mbold\x1b[m", "red and bold"),
        ("\x1b]0;title\x07text \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "text link"),
        ("\x1b(Bplain\x1b=", "plain"),
        ("two\nlines\tand\rmore\x00", "two lines and more"),
        ("bell\x07 and half \x1b[", "bell and half"),
    ],
)
def test_no_control_sequence_is_left(text, line):
    assert plain(text) == line


def test_an_error_is_one_line():
    assert one_line(UserError("give a\nfile")) == "give a file"
    assert one_line(ValueError("\x1b[1mfirst\x1b[0m\nsecond")) == "ValueError: first"
    errors = RuntimeError("Errors in loading:\n  size mismatch\n  more")
    assert one_line(errors) == "RuntimeError: Errors in loading: size mismatch"
    assert one_line(KeyError()) == "KeyError"
    assert len(one_line(ValueError("x" * 5000))) == 300


@pytest.mark.parametrize("error", [Exception("plain"), AssertionError(), SystemExit(1), RecursionError("deep")])
def test_whatever_foreign_code_raises_is_a_line(error):
    with pytest.raises(ForeignError, match=r"^the metric: "), foreign("the metric"):
        raise error


def test_what_is_no_failure_of_theirs_passes():
    with pytest.raises(UserError, match=r"^as it is$") as found, foreign("the metric"):
        raise UserError("as it is")
    assert not isinstance(found.value, ForeignError)
    with pytest.raises(KeyboardInterrupt), foreign("the metric"):
        raise KeyboardInterrupt
