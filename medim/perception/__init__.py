"""Image encoders: for the tokenizer's perceptual loss and for distribution metrics. Nothing is loaded at import."""
