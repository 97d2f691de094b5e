"""Data sets: from files, or from a procedure, to `ImageReportPair`."""
