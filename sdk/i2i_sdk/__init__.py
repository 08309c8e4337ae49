"""Image-to-image translation of images and video: `from i2i_sdk import Translator`.

    translate = Translator("sketch")          # a zoo name, a bundle (x.i2i) or an ONNX file
    drawing = translate(frame)                # uint8 BGR of any size in, the same size out
    for result in translate.stream(0):        # a camera, a video, a network stream; see i2i_sdk.live
        print(result.output.shape, result.latency.total_ms)

Importing this package loads nothing heavy; OpenCV and an engine are loaded by the first Translator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from i2i_sdk.errors import (
    BackendError,
    BundleError,
    CheckpointError,
    ExportError,
    I2IError,
    InputError,
    MediaError,
    ParityError,
    TrainingError,
)

if TYPE_CHECKING:
    from i2i_sdk.bundle.folder import Bundle
    from i2i_sdk.live.results import Result
    from i2i_sdk.live.stream import Stream
    from i2i_sdk.quality.verify_bundle import VerifyOutcome
    from i2i_sdk.translator import Translator, verify

__version__ = "0.1.0"

__all__ = [
    "BackendError",
    "Bundle",
    "BundleError",
    "CheckpointError",
    "ExportError",
    "I2IError",
    "InputError",
    "MediaError",
    "ParityError",
    "Result",
    "Stream",
    "TrainingError",
    "Translator",
    "VerifyOutcome",
    "__version__",
    "verify",
]

_LAZY = {
    "Bundle": "i2i_sdk.bundle.folder",
    "Result": "i2i_sdk.live.results",
    "Stream": "i2i_sdk.live.stream",
    "Translator": "i2i_sdk.translator",
    "VerifyOutcome": "i2i_sdk.quality.verify_bundle",
    "verify": "i2i_sdk.translator",
}


def __getattr__(name: str) -> Any:
    """Load a class when it is first used: they need OpenCV, which takes a while to import."""
    if name not in _LAZY:
        raise AttributeError(f"module 'i2i_sdk' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__
