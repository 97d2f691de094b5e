"""Phantom version 1, frozen: the first world, which the shipped phantom-tiny was trained on."""
