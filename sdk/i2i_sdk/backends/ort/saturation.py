"""Saturation: does this CPU add products of bytes in 16 bits, as x86 without VNNI does, and how to avoid it.

INT8 multiplies unsigned activations by signed weights. Without VNNI the fast instruction of x86 for that,
VPMADDUBSW, adds two products at a time and cuts the sum off at 32767; 255 x 127 twice is 64770. ONNX Runtime
and OpenVINO both use it there: of trained networks the pictures lost more than 10 dB, without a word.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false
# onnxruntime ships no type information.

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

EXACT_PRODUCTS = "session.x64quantprecision"
UINT8, INT8, INT32 = 2, 3, 6  # of onnx.proto
DEPTH = 16  # products in each sum


@lru_cache(maxsize=1)
def is_u8s8_saturating() -> bool:
    """Do ONNX Runtime's products of unsigned and signed bytes saturate on this CPU?

    It is tried: systems name the features of their processors differently, or not at all.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = ort.InferenceSession(_build_product_graph(), options, providers=["CPUExecutionProvider"])
    a, b = np.full((DEPTH, DEPTH), 255, np.uint8), np.full((DEPTH, DEPTH), 127, np.int8)
    product = np.asarray(session.run(None, {"a": a, "b": b})[0])
    return bool((product != 255 * 127 * DEPTH).any())


def avoid_saturation(session: Any) -> None:
    """Let ONNX Runtime compute INT8 exactly where its fast kernels saturate.

    Weights become unsigned there, for slower kernels that are exact. Only there: on a CPU with VNNI that
    costs nearly half of the speed for the same picture.

    Args:
        session: onnxruntime.SessionOptions, which are changed.
    """
    if is_u8s8_saturating():
        session.add_session_config_entry(EXACT_PRODUCTS, "1")


def _build_product_graph() -> bytes:
    """The ONNX file of y = MatMulInteger(a, b), uint8 by int8; a device has no package onnx to write it."""
    node = _encode(1, b"a") + _encode(1, b"b") + _encode(2, b"y") + _encode(4, b"MatMulInteger")
    ports = [(11, b"a", UINT8), (11, b"b", INT8), (12, b"y", INT32)]
    graph = _encode(1, node) + _encode(2, b"product")
    for number, name, kind in ports:
        graph += _encode(number, _encode(1, name) + _encode(2, _encode(1, bytes([1 << 3, kind]))))
    version = _encode(8, bytes([2 << 3, 13]))  # of the operators
    return bytes([1 << 3, 8]) + _encode(7, graph) + version


def _encode(number: int, content: bytes) -> bytes:
    """A field of a protobuf message with fewer than 128 bytes in it."""
    return bytes([number << 3 | 2, len(content)]) + content
