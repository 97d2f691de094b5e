"""What is wrong with a data set: files, texts, pictures, and what leaks between its splits."""

from medim.data.checks.check import SYNTHETIC_LIMIT, check_dataset, open_for_check
from medim.data.checks.report import ALLOWABLE, Issue, Report

__all__ = ["ALLOWABLE", "SYNTHETIC_LIMIT", "Issue", "Report", "check_dataset", "open_for_check"]
