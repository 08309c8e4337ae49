"""ncnn on the CPU, for Android and small ARM boards; Python runs the same two files.

ncnn has no uint8 tensors. Its graphs take float32 planes [C, H, W] of 0..255 and give float32 planes of
whole numbers 0..255: scaling, rounding and clipping are inside. What is left outside changes types and
layout only, so it is exact: in C++ `Mat::from_pixels` before and `Mat::to_pixels` after.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray

from i2i_sdk.backends.base import DEFAULT_OPTIONS, Engine, EngineOptions, Files
from i2i_sdk.backends.ncnn import ncnn_files
from i2i_sdk.backends.ncnn.ncnn_files import WEIGHT_FORMATS
from i2i_sdk.errors import BackendError

# Arithmetic is FP32 whatever the weights are stored as. Left alone, ncnn takes FP16 where a CPU has it, which
# is not what was verified.
DISABLED_OPTIONS = (
    *("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic"),
    *("use_bf16_packed", "use_bf16_storage", "use_vulkan_compute"),
)


class NcnnEngine(Engine):
    """A .param (the graph) and a .bin (its weights), one image at a time.

    `precision`, asked for and found, is what the weights are stored as: "fp32" or "fp16". All arithmetic is
    FP32.
    """

    _engine_name = "ncnn"

    def __init__(self, files: Files, precision: str, options: EngineOptions = DEFAULT_OPTIONS) -> None:
        options.require_cpu("ncnn")
        if [file.suffix for file in files] != [".param", ".bin"]:
            names = ", ".join(file.name for file in files)
            raise BackendError(f"{names}: ncnn cannot load it: it takes a .param and its .bin")
        param, weights = files
        layers = ncnn_files.read_layers(param)
        self.precision = ncnn_files.find_weight_precision(layers, weights)
        if self.precision != precision:
            raise BackendError(f"{weights}: asked for {precision} weights, it holds {self.precision}")
        self.input_shape = ncnn_files.find_input_shape(layers)
        self.input_dtype = self.output_dtype = "uint8"
        net = self._native = _import_ncnn().Net()
        for name in DISABLED_OPTIONS:
            setattr(net.opt, name, False)
        if options.threads is not None:
            net.opt.num_threads = options.threads
        if net.load_param(str(param)) != 0 or net.load_model(str(weights)) != 0:
            raise BackendError(f"{param}: ncnn cannot load it with {weights.name}")
        if on := [name for name in DISABLED_OPTIONS if getattr(net.opt, name)]:
            raise BackendError(f"{param}: ncnn switched {', '.join(on)} on; FP32 on the CPU was asked for")
        self.provider = "CPU"
        # The files do not say what comes out, one run does.
        self.output_shape = self.run(np.zeros(self.input_shape, self.input_dtype)).shape

    @staticmethod
    def explain_unsupported(precision: str) -> str | None:
        if precision not in WEIGHT_FORMATS:
            return f"ncnn's files hold {' or '.join(WEIGHT_FORMATS)} weights, not {precision}"
        if importlib.util.find_spec("ncnn") is None:
            return "the package is missing: pip install 'i2i-sdk[ncnn]'"
        try:
            _import_ncnn()
        except ImportError as error:  # a system library is missing
            return f"the package ncnn is installed but does not load: {error}"
        return None

    def _run(self, batch: NDArray[Any]) -> NDArray[Any]:
        extractor = self._native.create_extractor()
        input_code = extractor.input("in0", _to_mat(batch[0]))
        output_code, planes = extractor.extract("out0")
        if input_code != 0 or output_code != 0 or planes.dims != 3:
            raise RuntimeError(f"codes {input_code}, {output_code}; {planes.dims} dimensions")
        pixels = np.array(planes).astype(np.uint8)  # whole numbers already
        return np.ascontiguousarray(pixels.transpose(1, 2, 0))[None]


def _import_ncnn() -> Any:
    return importlib.import_module("ncnn")  # `import ncnn` would need types, which it has none of


def _to_mat(values: NDArray[Any]) -> Any:
    """uint8 [H, W, 1 or 3] pixels -> ncnn's own copy of them, float32."""
    mat = _import_ncnn().Mat
    height, width, channels = values.shape
    kind = {1: mat.PixelType.PIXEL_GRAY, 3: mat.PixelType.PIXEL_RGB}[channels]
    return mat.from_pixels(values, kind, width, height)
