"""What each operation of a Core ML program does, written with torch: the table of `mil/interpreter.py`.

Names, arguments and layouts are those of MIL (coremltools, `converters/mil/mil/ops/defs`). An argument is a
float32 tensor, or a constant as the program stores it: a number, a text, an array of whole numbers.
ValueError says what an operation is asked for that is not done here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


def _conv(x: Tensor, weight: Tensor, bias: Tensor | None = None, **window: Any) -> Tensor:
    (top, bottom, left, right), steps = _read_window(**window)
    return F.conv2d(F.pad(x, (left, right, top, bottom)), weight, bias, **steps)


def _conv_transpose(x: Tensor, weight: Tensor, bias: Tensor | None = None, **window: Any) -> Tensor:
    (top, bottom, left, right), steps = _read_window(**window)
    return _crop(F.conv_transpose2d(x, weight, bias, **steps), (top, bottom), (left, right))


def _crop(x: Tensor, crop_height: Any, crop_width: Any) -> Tensor:
    (top, bottom), (left, right) = _to_ints(crop_height), _to_ints(crop_width)
    height, width = x.shape[-2:]
    return x[..., top : height - bottom, left : width - right]


def _pad(x: Tensor, pad: Any, mode: str = "constant", constant_val: Any = 0.0) -> Tensor:
    *others, top, bottom, left, right = _to_ints(pad)
    if any(others):
        raise ValueError(f"pads {_to_ints(pad)}, of height and width only")
    if mode not in ("constant", "reflect", "replicate"):
        raise ValueError(f"has mode {mode!r}")
    return F.pad(x, (left, right, top, bottom), mode, float(constant_val) if mode == "constant" else None)


def _instance_norm(x: Tensor, gamma: Any = None, beta: Any = None, epsilon: Any = 1e-5) -> Tensor:
    # As many groups as channels: F.instance_norm refuses maps of one pixel, which a U-Net has.
    return torch.group_norm(x, x.shape[1], gamma, beta, float(epsilon))


def _upsample_nearest_neighbor(x: Tensor, scale_factor_height: Any, scale_factor_width: Any) -> Tensor:
    return F.interpolate(x, scale_factor=(float(scale_factor_height), float(scale_factor_width)))


def _upsample_bilinear(
    x: Tensor, scale_factor_height: Any, scale_factor_width: Any, align_corners: Any = True
) -> Tensor:
    scale = (float(scale_factor_height), float(scale_factor_width))
    return F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=bool(align_corners))


def _concat(values: Sequence[Tensor], axis: Any, interleave: Any = False) -> Tensor:
    if interleave:
        raise ValueError("interleaves its inputs")
    return torch.cat(tuple(values), int(axis))


def _constexpr_affine_dequantize(
    quantized_data: NDArray[Any], zero_point: Any, scale: Any, axis: Any
) -> Tensor:
    """8-bit weights -> numbers: scale * (q - zero_point), both per channel of `axis` or one for all."""
    sides = [1] * quantized_data.ndim
    sides[int(axis)] = -1
    offset, factor = (np.asarray(v, np.float32).reshape(sides) for v in (zero_point, scale))
    return torch.from_numpy((quantized_data.astype(np.float32) - offset) * factor)


def _constexpr_lut_to_dense(indices: NDArray[Any], lut: Tensor, shape: Any) -> Tensor:
    """Palette entries -> numbers; `indices` holds log2(entries) bits each, packed, the lowest bit first."""
    sides = _to_ints(shape)
    width, count = (len(lut) - 1).bit_length(), int(np.prod(sides))
    bits = np.unpackbits(indices.view(np.uint8), bitorder="little")[: count * width].reshape(count, width)
    entries = np.packbits(bits, axis=1, bitorder="little")[:, 0]
    return lut[torch.from_numpy(entries.astype(np.int64))].reshape(sides)


def _read_window(
    pad_type: str,
    pad: Any = (0, 0, 0, 0),
    strides: Any = (1, 1),
    dilations: Any = (1, 1),
    groups: Any = 1,
    output_shape: Any = None,  # only named by the program: what comes out is compared with its declared shape
) -> tuple[tuple[int, ...], dict[str, Any]]:
    """The padding (top, bottom, left, right), and the rest as torch calls it."""
    if pad_type not in ("valid", "custom"):
        raise ValueError(f"has pad_type {pad_type!r}, not valid or custom")
    steps = {"stride": _to_ints(strides), "dilation": _to_ints(dilations), "groups": int(groups)}
    return _to_ints(pad) if pad_type == "custom" else (0, 0, 0, 0), steps


def _to_ints(values: Any) -> tuple[int, ...]:
    return tuple(int(value) for value in values)


OPS: dict[str, Callable[..., Tensor]] = {
    "add": lambda x, y: x + y,
    "cast": lambda x, dtype: x,  # every result is rounded to its declared type anyway
    "clip": lambda x, alpha, beta: x.clamp(float(alpha), float(beta)),
    "concat": _concat,
    "constexpr_affine_dequantize": _constexpr_affine_dequantize,
    "constexpr_lut_to_dense": _constexpr_lut_to_dense,
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "crop": _crop,
    "instance_norm": _instance_norm,
    "leaky_relu": lambda x, alpha: F.leaky_relu(x, float(alpha)),
    "mul": lambda x, y: x * y,
    "pad": _pad,
    "relu": lambda x: x.relu(),
    "round": lambda x: x.round(),  # halves to even, in both
    "sub": lambda x, y: x - y,
    "tanh": lambda x: x.tanh(),
    "upsample_bilinear": _upsample_bilinear,
    "upsample_nearest_neighbor": _upsample_nearest_neighbor,
}
