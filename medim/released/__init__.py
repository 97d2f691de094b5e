"""The checkpoint that the authors of MeDiM released, as a model of this project."""

SIZE = "Image Size: Width is 512 Height is 512."
"""The text before the report; the released code writes the picture's size there."""
TERMS = "PhysioNet Credentialed Health Data License 1.5.0 (MIMIC-CXR)"  # of the data that the released model learned from
