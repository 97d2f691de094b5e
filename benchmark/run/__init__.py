"""One run: a model on the tasks of a data set, in one `--out` folder."""
