"""The archives that medical pairs come from: one module each, made into folders with `pairs.jsonl` by `prepare`."""
