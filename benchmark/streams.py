"""Standard streams that whoever started the command has closed (`>&-`)."""

import os
import sys


def open_closed() -> None:
    """Opens them to nothing: else the next file opened would get such a stream's number, and all that is printed with it."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115  # for as long as the process
