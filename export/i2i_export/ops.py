"""Operator roles: what each ONNX operator of our graphs is to precisions, passes and targets, in one table.

An operator that is missing has no role: FP16 takes it as it is, INT8 does not look through it, and the web
target refuses it.
"""

from __future__ import annotations

from enum import Flag, auto

from onnx import NodeProto


class Role(Flag):
    """What an operator may be."""

    WEIGHTED = auto()  # multiplies by trained weights: where low precision saves time
    STATISTICS = auto()  # sums over a picture, too large for FP16 (TensorRT#2691, onnxruntime#10079)
    ARITHMETIC = auto()  # what a normalization that is written out makes of its sums
    HEAD = auto()  # it and all that follows stays FP32: near 1 a step of FP16 is an eighth of a gray level
    QUANTIZE = auto()  # one half of a Q/DQ pair
    SCALABLE = auto()  # a positive factor per channel passes through it
    WEB = auto()  # onnxruntime-web runs it


# WEB: the WebAssembly build has all of ONNX. The WebGPU build (1.30) was seen to run all nodes of a ResNet
# and a U-Net but Round, near the end, which it gives to WebAssembly.
ROLES = {
    "Add": Role.ARITHMETIC | Role.WEB,  # an Add of two tensors is a residual's, and no arithmetic
    "Cast": Role.WEB,
    "Clip": Role.WEB,
    "Concat": Role.WEB,
    "Conv": Role.WEIGHTED | Role.WEB,
    "ConvTranspose": Role.WEIGHTED | Role.WEB,
    "DequantizeLinear": Role.QUANTIZE,
    "Div": Role.ARITHMETIC | Role.WEB,
    "Gemm": Role.WEIGHTED,
    "InstanceNormalization": Role.STATISTICS | Role.WEB,
    "LeakyRelu": Role.SCALABLE | Role.WEB,
    "MatMul": Role.WEIGHTED,
    "Mul": Role.ARITHMETIC | Role.WEB,
    "Pad": Role.SCALABLE | Role.WEB,
    "Pow": Role.ARITHMETIC,
    "QuantizeLinear": Role.QUANTIZE,
    "Reciprocal": Role.ARITHMETIC,
    "ReduceMean": Role.STATISTICS,
    "ReduceSum": Role.STATISTICS,
    "Relu": Role.SCALABLE | Role.WEB,
    "Resize": Role.SCALABLE | Role.WEB,
    "Round": Role.WEB,
    "Sqrt": Role.ARITHMETIC,
    "Sub": Role.ARITHMETIC | Role.WEB,
    "Tanh": Role.HEAD | Role.WEB,
    "Transpose": Role.WEB,
    "Unsqueeze": Role.WEB,
}


def has_role(node: NodeProto, role: Role) -> bool:
    """Has a node's operator this role?"""
    return role in ROLES.get(node.op_type, Role(0))
