"""Filling a canvas: settings, the plan of rounds, pure steps, the loop, guidance by checkers, editing."""
