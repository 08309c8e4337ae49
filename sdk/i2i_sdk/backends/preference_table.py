"""Backends: the one table of them, a row each, in the order of preference, and which devices they serve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class BackendRow:
    """What is known of a backend before its file is imported."""

    # "module:class" of its Engine, in this package; None where its files run without Python.
    engine: str | None
    precisions: tuple[str, ...]  # the preferred first, where nothing was tuned
    packages: tuple[str, ...]  # distributions whose versions decide how fast it is
    # What manifests say they need -> the distributions that bring it, where there are several.
    alternatives: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    runs_onnx: tuple[str, ...] = ()  # in which precisions it runs any FP32 ONNX file: `i2i doctor` tries them
    elsewhere: str = ""  # where its files run instead


TENSORRT = ("tensorrt", "tensorrt-cu13", "tensorrt-cu12")
ONNXRUNTIME = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml")

BACKENDS: dict[str, BackendRow] = {
    "trt": BackendRow(
        "tensorrt.trt_engine:TrtEngine",
        ("int8", "fp16"),
        ("tensorrt", "tensorrt-rtx"),
        {
            "tensorrt-or-rtx": (*TENSORRT, "tensorrt-rtx", "tensorrt-rtx-cu13"),
            "tensorrt": (*TENSORRT, "tensorrt-lean", "tensorrt-cu13-bindings"),
        },
    ),
    "torch-trt": BackendRow("torch_trt:TorchTrtEngine", ("fp16",), ("torch-tensorrt",)),
    "coreml": BackendRow("coreml:CoreMlEngine", ("fp16", "w8", "palette6"), ("coremltools",)),
    "openvino": BackendRow(
        "openvino:OpenVinoEngine", ("int8", "bf16", "fp32"), ("openvino",), runs_onnx=("bf16", "fp32")
    ),
    "ort": BackendRow(
        "ort.ort_engine:OrtEngine",
        ("int8", "fp32"),
        (*ONNXRUNTIME, "onnxruntime-qnn", "onnxruntime-ep-nv-tensorrt-rtx"),
        {"onnxruntime": ONNXRUNTIME},
        runs_onnx=("fp32",),
    ),
    "ncnn": BackendRow("ncnn.ncnn_engine:NcnnEngine", ("fp32", "fp16"), ("ncnn",)),
    "web": BackendRow(None, ("fp16", "fp32"), (), elsewhere="it runs in a browser, see docs/mobile.md"),
}

AUTO_DEVICE = "auto"  # no device is named: what was tuned or is preferred decides
# Device -> the backends that serve it -> what each is given as `EngineOptions.provider`: the first that runs
# here. None: the backend has one device, or chooses. OpenVINO compiles for the CPU alone.
DEVICES: dict[str, dict[str, tuple[str | None, ...]]] = {
    "cpu": {"openvino": ("cpu",), "ort": ("cpu", "xnnpack"), "ncnn": ("cpu",)},
    "cuda": {"trt": (None,), "torch-trt": (None,), "ort": ("cuda", "tensorrt-rtx")},
    "gpu": {
        "trt": (None,),
        "torch-trt": (None,),
        "coreml": ("gpu",),
        "ort": ("cuda", "tensorrt-rtx", "directml", "coreml"),
    },
    "npu": {"coreml": ("neural-engine",), "ort": ("qnn",)},
    "coreml": {"coreml": (None, "gpu", "neural-engine"), "ort": ("coreml",)},
    "directml": {"ort": ("directml",)},
}

PREFERENCE = tuple((name, p) for name, row in BACKENDS.items() if row.engine for p in row.precisions)
PACKAGES = tuple(package for row in BACKENDS.values() for package in row.packages)
ALTERNATIVES = {name: found for row in BACKENDS.values() for name, found in row.alternatives.items()}
