"""What is wrong with a data set: files, texts, pictures, and what leaks between its splits. See `check.check_dataset`."""
