"""Images and reports, each from the other, long reports, and both from nothing."""
