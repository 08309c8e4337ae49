"""Losses: GAN objectives and the history of generated images."""
