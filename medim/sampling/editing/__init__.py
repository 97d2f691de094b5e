"""Canvases of which a part is given: completions, gaps in reports, regions of images, rewritten reports."""
