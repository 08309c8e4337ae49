"""Every variant of a checkpoint against eager PyTorch FP32, as the research code runs it, in one run."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch

from benchmarks.report import show
from i2i_export.options import ExportOptions
from i2i_export.pipeline import export_bundle
from i2i_export.wanted import parse_targets
from i2i_sdk import Translator
from i2i_sdk.measure import interleaved
from i2i_training.checkpoint import load_generator

SIZE = 256


def main(argv: Sequence[str]) -> int:
    """Measure the given checkpoint, else the real horse-to-zebra one of the shared data, else the zoo's."""
    checkpoint = Path(argv[0]) if argv else default_checkpoint()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        out = Path(folder) / "bench.i2i"
        export_bundle(checkpoint, parse_targets("ort,openvino"), out, ExportOptions(size=(SIZE, SIZE)))
        calls: dict[str, Callable[[], object]] = {"eager PyTorch FP32": eager(checkpoint)}
        quality: dict[str, str] = {}
        for backend, precision, _ in parse_targets("ort,openvino"):
            t = stack.enter_context(Translator(out, backend=backend, precision=precision))
            calls[f"{backend} {precision}"] = lambda t=t: t.engine.run(FRAME)
            assert t.variant is not None and t.variant.parity is not None
            quality[f"PSNR of {backend} {precision}"] = f"{t.variant.parity.psnr:.1f} dB"
        times = interleaved(calls, rounds=100, warmup=10)
    name = f"{checkpoint.parent.name}/{checkpoint.name}"
    show(
        f"engines: {name} at {SIZE}x{SIZE}",
        times,
        "eager PyTorch FP32",
        threads=torch.get_num_threads(),
        **quality,
    )
    return 0


def default_checkpoint() -> Path:
    """The real generator where the shared data is present."""
    root = Path(__file__).resolve().parents[1]
    shared = Path(os.environ.get("I2I_SHARED_DATA", root.parent / "shared" / "data"))
    real = shared / "checkpoints" / "gan_compression_horse2zebra" / "latest_net_G.pth"
    return real if real.is_file() else root / "models" / "sketch" / "latest_net_G.safetensors"


def eager(checkpoint: Path) -> Callable[[], object]:
    """The bare generator in PyTorch, float32 in and out: less work than an engine, which converts too."""
    module, _ = load_generator(checkpoint)
    x = torch.from_numpy(FRAME).permute(0, 3, 1, 2).float() / 127.5 - 1

    def call() -> object:
        with torch.inference_mode():
            return module(x)

    return call


FRAME = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 3), np.uint8)

if __name__ == "__main__":
    main(sys.argv[1:])
