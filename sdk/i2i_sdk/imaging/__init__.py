"""Imaging: geometry, tiles, compositing and flicker of uint8 pictures."""
