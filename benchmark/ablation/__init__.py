"""The same training with one choice changed at a time: what each choice is worth, with intervals over patients and seeds."""
