"""Every variant of a checkpoint against eager PyTorch FP32, as the research code runs it, in one run."""

from __future__ import annotations

import argparse
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
from i2i_sdk.backends import open_variant, why_not
from i2i_sdk.bundle import Bundle
from i2i_sdk.measure import interleaved
from i2i_training.checkpoint import load_generator

SIZE = 256
BASELINE = "eager PyTorch FP32"


def main(argv: Sequence[str]) -> int:
    """Measure the given checkpoint, else the real horse-to-zebra one of the shared data, else the zoo's."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines")
    parser.add_argument("checkpoint", type=Path, nargs="?", default=default_checkpoint())
    parser.add_argument("--bundle", type=Path, help="made of it, at 256x256; default: one is made")
    parser.add_argument("--frames", type=Path, help="for parity and calibration; without them no INT8")
    parser.add_argument("--rounds", type=int, default=100)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        bundle = Bundle.read(args.bundle) if args.bundle else exported(args.checkpoint, args.frames, folder)
        calls: dict[str, Callable[[], object]] = {BASELINE: eager(args.checkpoint)}
        quality: dict[str, str] = {}
        for variant in bundle.manifest.variants:
            if reason := why_not(variant):
                quality[variant.name] = f"not run: {reason}"
                continue
            engine = stack.enter_context(open_variant(variant, bundle.files_of(variant)))
            calls[variant.name] = lambda engine=engine: engine.run(FRAME)
            assert variant.parity is not None
            share = f", {variant.macs_in_precision:.0%} of MACs" if variant.precision == "int8" else ""
            quality[f"PSNR of {variant.name}"] = f"{variant.parity.psnr:.1f} dB{share}"
        times = interleaved(calls, rounds=args.rounds, warmup=10)
    name = f"{args.checkpoint.parent.name}/{args.checkpoint.name}"
    show(f"engines: {name} at {SIZE}x{SIZE}", times, BASELINE, threads=torch.get_num_threads(), **quality)
    return 0


def exported(checkpoint: Path, frames: Path | None, folder: str) -> Bundle:
    """A bundle with what runs on a CPU."""
    options = ExportOptions(size=(SIZE, SIZE), frames=frames)
    out = Path(folder) / "bench.i2i"
    return export_bundle(checkpoint, parse_targets("ort,openvino", options), out, options).bundle


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
