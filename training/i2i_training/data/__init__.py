"""Data sets: their layouts, checks, random crops, and held-out images."""

from i2i_training.data.held_out import HeldOut, read_held_out
from i2i_training.data.images import normalised, to_images, to_tensor
from i2i_training.data.options import DataOptions
from i2i_training.data.training import Batch, TrainingData, open_training_data

__all__ = [
    "Batch",
    "DataOptions",
    "HeldOut",
    "TrainingData",
    "normalised",
    "open_training_data",
    "read_held_out",
    "to_images",
    "to_tensor",
]
