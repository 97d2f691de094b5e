"""How many nats a model needs for pairs, by modality and by sentence."""
