"""The registry of `tasks.downstream`."""

from importlib.metadata import EntryPoint

import pytest

import tasks.downstream
from medim.common.errors import UserError
from tasks.downstream import DOWNSTREAM, open_downstream


@pytest.mark.parametrize("name", [name for name in DOWNSTREAM if name != "llava"])
def test_every_name_opens(name):
    assert open_downstream(name).name == name


def test_names_and_arguments():
    with pytest.raises(UserError, match=r"unknown downstream model 'r2gen-tny'; did you mean 'r2gen-tiny'\?"):
        open_downstream("r2gen-tny")
    for name in ("r2gen-tiny", "ved", "ved-tiny", "classifier"):
        with pytest.raises(UserError, match=f"'{name}' takes no argument, not 'there'"):
            open_downstream(f"{name}:there")
    with pytest.raises(UserError, match="'llava' needs a language model: llava:FOLDER"):
        open_downstream("llava")


class Other:
    name = "other"

    def fit(self, train, validation, **_):
        raise NotImplementedError


def make(argument, device):
    return Other() if argument == "good" else object()


def test_other_packages_register_theirs(monkeypatch):
    entry = EntryPoint("other", "test_downstream:make", tasks.downstream.ENTRY_POINTS)
    monkeypatch.setattr(EntryPoint, "load", lambda self: make)
    monkeypatch.setattr(tasks.downstream, "entry_points", lambda group: [entry] if group == "medim.downstream" else [])
    assert open_downstream("other:good").name == "other"
    with pytest.raises(UserError, match="it needs name and fit"):
        open_downstream("other")
