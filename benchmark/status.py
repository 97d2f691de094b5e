"""Exit statuses of every verb, and the one way to say that a verb is not built yet."""

from typing import NoReturn

DONE = 0
STOPPED = 2  # bad input; click's own usage errors have this status too
WITH_FAILURES = 3  # finished; the failures are listed in failures.jsonl
NOT_BUILT = 4
INTERRUPTED = 130  # as a shell reports SIGINT


class NotBuiltError(Exception):
    """A verb, or a part of one, that a later version fills."""


def not_built(what: str, plan: str) -> NoReturn:
    """Says that `medim-bench {what}` does nothing yet, and what it will do.

    Raises:
        NotBuiltError: always; the command line prints it as one line and exits with 4.
    """
    raise NotBuiltError(f"`medim-bench {what}` is not built yet: {plan}")
