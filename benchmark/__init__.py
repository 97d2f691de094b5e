"""The commands of `medim-bench`, and the exit statuses of all of them."""

DONE = 0
STOPPED = 2  # bad input; click's own usage errors have this status too
WITH_FAILURES = 3  # finished; the failures are listed in failures.jsonl
INTERRUPTED = 130  # as a shell reports SIGINT
