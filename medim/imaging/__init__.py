"""Images on disk and in memory: reading, DICOM, sizes, near-duplicates. It knows no data set."""
