"""Changes to a module that keep its pictures, one pass per file: what engines run better, or run at all.

A pass changes the module it is given in place and returns how many layers it changed; `ready_for_export`
alone makes a copy, which is the module that the other passes are for.
"""

from __future__ import annotations

from i2i_export.rewrites.batch_norm import batch_norm_to_instance_norm, fold_batch_norm, ready_for_export
from i2i_export.rewrites.channel_order import bgr_in_and_out
from i2i_export.rewrites.conv_transpose import even_kernels, transposed_to_convolutions
from i2i_export.rewrites.instance_norm import instance_norm_to_reductions
from i2i_export.rewrites.reflection_pad import reflection_pad_to_slices

__all__ = [
    "batch_norm_to_instance_norm",
    "bgr_in_and_out",
    "even_kernels",
    "fold_batch_norm",
    "instance_norm_to_reductions",
    "ready_for_export",
    "reflection_pad_to_slices",
    "transposed_to_convolutions",
]
