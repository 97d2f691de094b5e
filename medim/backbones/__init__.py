"""Blocks of the denoiser: any Hugging Face causal LM, DiT or UniDisc, modulated by time."""
