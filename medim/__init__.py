"""MeDiM: a masked discrete diffusion model that generates medical images and reports together (arXiv 2510.06131)."""

__version__ = "0.1.0"
DISTRIBUTION = "medim-bench"
