"""The tokenizer recipe of these tests: 16-px images, 16 codes, seconds."""

from medim.training.tokenizer.recipe import TokenizerRecipe

RECIPE = TokenizerRecipe(
    resolution=16,
    downsampling=4,
    codes=16,
    latent_channels=4,
    channels=(8, 8, 16),
    attention=False,
    steps=12,
    batch_size=8,
    learning_rate=3e-3,
    warmup_steps=2,
    quantize_start=3,
    restart_every=3,
    eval_every=5,
    save_steps=5,
    logging_steps=2,
    bf16=False,
    weights="float32",
)
