"""Image metrics: distances, coverage and copies, from features of images."""
