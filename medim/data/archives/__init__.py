"""The archives that medical pairs come from: one module each, prepared as folders with `pairs.jsonl` by `prepare`."""
