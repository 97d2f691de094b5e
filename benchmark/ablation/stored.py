"""What an ablation left on disk, read again."""

TASKS = ("report-generation", "image-generation", "joint-generation")
