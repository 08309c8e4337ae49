"""Operator roles: what the ONNX operators of our graphs are to precisions, passes and targets, in one place.

An operator that has no role: FP16 takes it as it is, INT8 does not look through it, and the web target
refuses it.
"""

from __future__ import annotations

# Multiply by trained weights: where low precision saves time.
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# Sum over a picture, too much for FP16 (TensorRT#2691, onnxruntime#10079).
STATISTICS = ("InstanceNormalization", "ReduceMean", "ReduceSum")
# What a normalization that is written out makes of its sums; an Add of two tensors is a residual's.
ARITHMETIC = ("Add", "Div", "Mul", "Pow", "Reciprocal", "Sqrt", "Sub")
# They and all that follows stay FP32: near 1 a step of FP16 is an eighth of a gray level.
HEAD = ("Tanh",)
# The halves of a Q/DQ pair.
QUANTIZE = ("QuantizeLinear", "DequantizeLinear")
# A positive factor per channel passes through them.
SCALABLE = ("LeakyRelu", "Pad", "Relu", "Resize")
# onnxruntime-web runs them: the WebAssembly build has all of ONNX. The WebGPU build (1.30) was seen to run
# all nodes of a ResNet and a U-Net but Round, near the end, which it gives to WebAssembly.
WEB = (
    *("Add", "AveragePool", "Cast", "Clip", "Concat", "Conv", "ConvTranspose", "DepthToSpace", "Div"),
    *("InstanceNormalization", "Mul", "ReduceMean", "Round", "Sub", "Transpose", "Unsqueeze"),
    *(*HEAD, *SCALABLE),
)
