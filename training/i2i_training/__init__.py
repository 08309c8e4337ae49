"""Train image-to-image GANs. Start at `recipes/` for a method, `loop.py` for how a run goes."""
