"""The networks behind `peaks`, in the files that each engine takes."""

from __future__ import annotations

import math
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.support.probe_openers import StackShape
from i2i_export.canonical import Uint8Translator, write_onnx
from i2i_export.int8.calibrate import choose_minmax_range, observe
from i2i_export.int8.qdq import (
    STYLES,
    find_eligible_layers,
    list_observed_tensors,
    quantize_all_weights,
    quantize_graph,
)
from i2i_export.targets import ncnn


class Stack(nn.Module):
    """float32 [N, 3, H, W] in -1..1 -> the same: 1x1 to many channels, the convolutions, 1x1 back to RGB.

    Weights and activations are positive: so 8-bit activations have 0 as their zero point without a ReLU, and
    no value grows or fades on the way. What comes in changes what comes out, so nothing can be folded away.
    """

    def __init__(self, shape: StackShape) -> None:
        super().__init__()
        ends = nn.Conv2d(3, shape.channels, 1, bias=False), nn.Conv2d(shape.channels, 3, 1, bias=False)
        padding = shape.kernel // 2
        inner = [
            nn.Conv2d(shape.channels, shape.channels, shape.kernel, padding=padding, bias=False)
            for _ in range(shape.layers)
        ]
        self.model = nn.Sequential(ends[0], *inner, ends[1])
        random = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weight in self.parameters():
                weight.uniform_(0, 2 / math.prod(weight.shape[1:]), generator=random)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x + 1) - 1


def write_stack(folder: Path, shape: StackShape, backend: str, precision: str) -> tuple[Path, ...]:
    """The files of a stack that `backend` takes; written unless they are there.

    Raises ExportError where pnnx is missing, which ncnn's need.

    Args:
        folder: of the files.
        shape: of the stack.
        backend: "ort", "openvino" or "ncnn".
        precision: that the backend computes in.

    Returns:
        The files.
    """
    name = "stack-" + "-".join(str(value) for value in vars(shape).values())
    if backend == "ncnn":
        return _write_ncnn_files(folder, shape, name, precision)
    graph = folder / f"{name}.onnx"
    if not graph.exists():
        write_onnx(Uint8Translator(Stack(shape)).eval(), torch.from_numpy(_make_frames(shape, 2)), graph)
    if precision != "int8":
        return (graph,)
    quantized = folder / f"{name}-{backend}-int8.onnx"
    if not quantized.exists():
        model = onnx.load(str(graph))
        seen = observe(model, list_observed_tensors(model), _make_frames(shape, 1))
        convs = {conv for layer in find_eligible_layers(model).values() for conv in layer}
        onnx.save(
            quantize_graph(
                model, seen, quantize_all_weights(model), convs, STYLES[backend], choose_minmax_range
            ),
            str(quantized),
        )
    return (quantized,)


def _make_frames(shape: StackShape, count: int) -> NDArray[np.uint8]:
    """Noise, uint8 [count, side, side, 3]."""
    return np.random.default_rng(0).integers(0, 256, (count, shape.side, shape.side, 3), np.uint8)


def _write_ncnn_files(folder: Path, shape: StackShape, name: str, precision: str) -> tuple[Path, Path]:
    """.param and .bin, by the export's own steps; where they are there, those."""
    param, weights = (folder / f"{name}-{precision}.{suffix}" for suffix in ("param", "bin"))
    if param.exists():
        return param, weights
    with tempfile.TemporaryDirectory(dir=folder) as scratch:  # pnnx leaves as much again beside them
        traced = Path(scratch, f"{name}.pt")
        module = ncnn.PlanarPixels(Stack(shape)).eval()
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript, which pnnx reads
            example = torch.zeros(1, 3, shape.side, shape.side)
            torch.jit.save(torch.jit.trace(module, example, check_trace=False), str(traced))
        written = ncnn._convert(ncnn._find_pnnx(), traced, param.stem, precision)
        for made, kept in zip(written, (param, weights), strict=True):
            made.rename(kept)
    lines = param.read_text(encoding="utf-8").splitlines()
    said = f" 0={shape.side} 1={shape.side} 2=3"  # width, height and channels of the input
    lines = [line + said if line.startswith("Input ") else line for line in lines]
    param.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return param, weights
