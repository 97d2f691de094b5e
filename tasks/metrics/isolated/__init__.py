"""Metrics whose packages cannot live beside ours: each runs in a Python environment that is a folder."""
