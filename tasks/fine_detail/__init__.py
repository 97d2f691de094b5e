"""The smallest lesion that survives the tokenizer and generation."""
