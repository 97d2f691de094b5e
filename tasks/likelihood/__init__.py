"""Nats that a model needs for held-out pairs."""
