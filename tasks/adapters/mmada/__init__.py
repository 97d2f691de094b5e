"""MMaDA (Yang et al. 2025, arXiv 2505.15809), a discrete diffusion model of text and images, as a system under test."""
