"""Data sets: their layouts, checks, random crops, and held-out images."""

from i2i_training.data.batches import Batch, TrainingData
from i2i_training.data.data_options import DataOptions
from i2i_training.data.held_out import HeldOutSet, read_held_out
from i2i_training.data.image_tensors import normalize_images, to_images, to_tensor

__all__ = [
    "Batch",
    "DataOptions",
    "HeldOutSet",
    "TrainingData",
    "normalize_images",
    "read_held_out",
    "to_images",
    "to_tensor",
]
