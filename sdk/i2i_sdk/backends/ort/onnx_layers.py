"""What an ONNX file says of its layers, read without the package onnx, which a device does not have.

An ONNX file is a protobuf message. Of its many fields a few matter here; the others are skipped by their
length, so weights are never read and large files take no longer.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

# Convolutions and matrix products, as models have them and as ONNX Runtime's optimizer makes them.
FLOAT_LAYERS = (
    *("Conv", "ConvTranspose", "FusedConv", "NhwcFusedConv"),
    *("Gemm", "FusedGemm", "MatMul", "FusedMatMul"),
)
INT8_LAYERS = (
    *("ConvInteger", "QLinearConv", "QGemm", "QLinearMatMul"),
    *("DynamicQuantizeMatMul", "MatMulInteger", "MatMulIntegerToFloat"),
)
QUANTIZED_OPS = frozenset((*INT8_LAYERS, "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"))

# Field numbers of onnx.proto.
GRAPH, NODE, INITIALIZER = 7, 1, 5
INPUT, OUTPUT, OP_TYPE = 1, 2, 4  # of a node
DATA_TYPE, NAME = 2, 8  # of an initializer
FLOAT16 = 10


@dataclass(frozen=True)
class OnnxLayers:
    """The layers of a graph."""

    nodes: Counter[str] = field(default_factory=Counter[str])  # how many of each type
    has_fp16_weights: bool = False  # does a float layer have FP16 weights?
    dequantized_count: int = 0  # float layers between Q/DQ: an engine is to compute them in INT8

    @property
    def is_quantized(self) -> bool:
        """Does anything in it quantize?"""
        return not QUANTIZED_OPS.isdisjoint(self.nodes)

    def count_by_precision(self) -> dict[str, int]:
        """How many layers of each precision there are when every node computes in the types it takes."""
        counts = {
            "fp16" if self.has_fp16_weights else "fp32": sum(self.nodes[kind] for kind in FLOAT_LAYERS),
            "int8": sum(self.nodes[kind] for kind in INT8_LAYERS),
        }
        return {precision: count for precision, count in counts.items() if count}


def read_layers(path: Path) -> OnnxLayers:
    """The layers of the main graph in an ONNX file. Raises ValueError for what is no such file, OSError."""
    nodes: Counter[str] = Counter()
    layer_inputs: list[list[bytes]] = []  # names of what each float layer takes, the picture first
    dequantized: set[bytes] = set()
    halves: set[bytes] = set()  # names of FP16 constants
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        graphs = [(a, b) for n, a, b in _iterate_fields(data, 0, len(data)) if n == GRAPH]
        for kind, start, end in (part for graph in graphs for part in _iterate_fields(data, *graph)):
            if kind == NODE:
                op_type, inputs, outputs = _read_node(data, start, end)
                nodes[op_type] += 1
                if op_type in FLOAT_LAYERS:
                    layer_inputs.append(inputs)
                elif op_type == "DequantizeLinear":
                    dequantized.update(outputs)
            elif kind == INITIALIZER:
                values = {n: (a, b) for n, a, b in _iterate_fields(data, start, end)}
                if values.get(DATA_TYPE) == (FLOAT16, FLOAT16) and NAME in values:
                    halves.add(data[slice(*values[NAME])])
    return OnnxLayers(
        nodes,
        has_fp16_weights=any(not halves.isdisjoint(inputs) for inputs in layer_inputs),
        dequantized_count=sum(1 for inputs in layer_inputs if inputs and inputs[0] in dequantized),
    )


def find_engine_precision(layers: Mapping[str, int], dequantized_count: int, default: str) -> str:
    """The precision of an engine, by what its layers compute in.

    Args:
        layers: how many compute in which precision.
        dequantized_count: how many of its graph are between Q/DQ.
        default: the precision of an engine without INT8 layers.

    Returns:
        "int8" when most of those between Q/DQ are INT8, "mixed" when only some, else `default`.
    """
    if not layers.get("int8"):
        return default
    return "int8" if 2 * layers["int8"] > dequantized_count else "mixed"


def _read_node(data: mmap.mmap, start: int, end: int) -> tuple[str, list[bytes], list[bytes]]:
    """Type, inputs and outputs of the node in data[start:end]."""
    found: dict[int, list[bytes]] = {INPUT: [], OUTPUT: [], OP_TYPE: []}
    for number, first, last in _iterate_fields(data, start, end):
        if number in found:
            found[number].append(data[first:last])
    return b"".join(found[OP_TYPE]).decode(), found[INPUT], found[OUTPUT]


def _iterate_fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The fields of the message in data[start:end]: (number, where its bytes begin, where they end).

    A whole number has no bytes of its own: it is given in place of both.
    """
    while start < end:
        key, start = _read_varint(data, start, end)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, start = _read_varint(data, start, end)
            yield number, value, value
            continue
        if wire == 2:
            length, start = _read_varint(data, start, end)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"no protobuf message: wire type {wire}")
        if start + length > end:
            raise ValueError("no protobuf message: a field is longer than the message")
        yield number, start, start + length
        start += length


def _read_varint(data: mmap.mmap, start: int, end: int) -> tuple[int, int]:
    """The whole number at `start`, seven bits to a byte, lowest first, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if start >= end:
            break
        byte = data[start]
        start += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, start
    raise ValueError("no protobuf message: a number does not end")
