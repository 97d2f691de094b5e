"""Training of image tokenizers, and what their round trip loses."""
