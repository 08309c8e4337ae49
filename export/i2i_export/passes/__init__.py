"""Changes to a module that keep its pictures, one pass per file: what engines run better, or run at all.

A pass changes the module it is given in place and returns how many layers it changed; `prepare_for_export`
alone makes a copy, which is the module that the other passes are for.
"""

from __future__ import annotations

from i2i_export.passes.batch_norm import fold_batch_norm, prepare_for_export, replace_batch_norm
from i2i_export.passes.channel_order import convert_to_bgr
from i2i_export.passes.conv_transpose import make_kernels_even, replace_transposed_convolutions
from i2i_export.passes.instance_norm import replace_instance_norm
from i2i_export.passes.reflection_pad import replace_reflection_pad

__all__ = [
    "convert_to_bgr",
    "fold_batch_norm",
    "make_kernels_even",
    "prepare_for_export",
    "replace_batch_norm",
    "replace_instance_norm",
    "replace_reflection_pad",
    "replace_transposed_convolutions",
]
