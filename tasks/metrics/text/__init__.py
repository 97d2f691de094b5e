"""Report metrics that compare words."""
