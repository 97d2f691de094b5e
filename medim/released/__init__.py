"""The checkpoint that the authors of MeDiM released, as a model of this project."""
