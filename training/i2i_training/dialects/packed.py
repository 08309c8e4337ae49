"""Checkpoints small enough for a repository: convolution weights rounded and entropy-coded.

Each output channel's weights are rounded to multiples of `coarseness` times their standard deviation
sigma. Such whole numbers have about log2(4.13 / coarseness) bits of entropy (that of a normal
distribution, Cover and Thomas, chapter 8), which LZMA nearly reaches: 4 bits at a quarter of sigma, where
the rounding error is 23 dB below the weights. Unlike INT8 the multiples do not fill a fixed range, so
quantizing an unpacked network to INT8 is as hard as usual.

The file is a `.safetensors` like every other; `load_generator` unpacks it. What it holds are then the
weights: score a network after packing, not before.
"""

from __future__ import annotations

import lzma
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from i2i_sdk.errors import CheckpointError

CODES, STEPS = "::codes", "::steps"  # suffixes of a packed tensor's two parts
MAX_CODE = 127


def pack(state: Mapping[str, Tensor], coarseness: Mapping[str, float]) -> dict[str, Tensor]:
    """Round and compress the tensors named in `coarseness`; the others stay as they are.

    state: float32 tensors by name. coarseness: rounding step in standard deviations, per tensor.
    """
    packed: dict[str, Tensor] = {}
    for name, value in state.items():
        if name not in coarseness:
            packed[name] = value
            continue
        axes = tuple(range(1, value.ndim))
        steps = value.std(dim=axes, keepdim=True).clamp_min(1e-12) * coarseness[name]
        codes = (value / steps).round().clamp(-MAX_CODE, MAX_CODE).to(torch.int8)
        data = lzma.compress(codes.numpy().tobytes(), preset=9)
        packed[name + CODES] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        packed[name + STEPS] = steps
    return packed


def unpack(packed: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Inverse of `pack`, up to the rounding; what is not packed stays as it is.

    shapes: of all tensors, as the network has them.
    Raises CheckpointError for data that is damaged or unpacks to more than its tensor holds.
    """
    parts = {name + part for name in shapes for part in (CODES, STEPS)}
    state = {name: value for name, value in packed.items() if name not in parts}
    for name, shape in shapes.items():
        if name + CODES not in packed:
            continue
        wanted = int(np.prod(shape))
        try:
            decompressor = lzma.LZMADecompressor(memlimit=2**28)
            data = decompressor.decompress(packed[name + CODES].numpy().tobytes(), max_length=wanted + 1)
            codes = np.frombuffer(data, np.int8).reshape(tuple(shape))
            state[name] = torch.from_numpy(codes.astype(np.float32)) * packed[name + STEPS]
        except (lzma.LZMAError, ValueError, KeyError, RuntimeError) as error:
            raise CheckpointError(f"{name}: its packed weights are damaged: {error}") from error
    return state
