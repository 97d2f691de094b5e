"""The commands of `medim-bench`, the exit statuses of all of them, and the packages that scoring needs."""

DONE = 0
STOPPED = 2  # bad input; click's own usage errors have this status too
WITH_FAILURES = 3  # finished; the failures are listed in failures.jsonl
INTERRUPTED = 130  # as a shell reports SIGINT

SCORING = ("nltk", "pandas", "pycocoevalcap", "scipy", "torchmetrics")
"""Packages of the extra `scoring` that modules import at their top."""
NO_SCORING = "scoring needs {}: pip install 'medim-bench[scoring]'"
