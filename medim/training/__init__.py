"""Training of the denoiser: recipes, draws and their noise, the trainer, what a training needs."""
