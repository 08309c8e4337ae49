"""`i2i verify BUNDLE`: measure again, here, how close every variant is to the bundle's reference."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from i2i_sdk.backends import check_threads, open_variant, why_not
from i2i_sdk.backends.base import EngineOptions
from i2i_sdk.backends.ort import OrtEngine
from i2i_sdk.bundle import Bundle
from i2i_sdk.commands.common import decibels, read_bundle
from i2i_sdk.errors import BackendError
from i2i_sdk.manifest import Parity, Variant
from i2i_sdk.parity import Trial, floor_of, measure_parity, read_inputs
from i2i_sdk.tables import print_table


def main(argv: Sequence[str]) -> int:
    """Compare, print a table; 1 if a variant that runs here misses its floor. Raises I2IError."""
    parser = argparse.ArgumentParser(
        prog="i2i verify",
        description="Compare every variant that runs here with the bundle's FP32 reference.",
    )
    parser.add_argument("bundle", help="a bundle (x.i2i) or a zoo name")
    parser.add_argument(
        "--frames", type=Path, help="folder of images or a video; default: scikit-image's photos"
    )
    parser.add_argument("--min-psnr", type=float, help="floor in dB instead of each precision's own")
    parser.add_argument("--threads", type=int, help="of the engines; default: their own choice")
    args = parser.parse_args(argv)
    check_threads(args.threads)
    bundle = read_bundle(args.bundle)
    found = verify_bundle(bundle, args.frames, args.threads)
    if not found:
        raise BackendError(f"{bundle.path}: no variant can run on this device; see: i2i info {bundle.path}")
    failed = [v.name for v in bundle.manifest.variants if v.name in found and missed(v, found, args.min_psnr)]
    _print_table(bundle, found, args.min_psnr)
    print(f"missed the floor: {', '.join(failed)}" if failed else "every variant that runs here is verified")
    return 1 if failed else 0


def verify_bundle(bundle: Bundle, frames: Path | None, threads: int | None) -> dict[str, Parity]:
    """Parity, by name, of every variant that runs here, against the reference of its size.

    The reference runs in ONNX Runtime, so no PyTorch is needed. frames: as `read_frames` takes them; a
    sampler's variants are compared on latents. Raises BundleError, BackendError, InputError, MediaError.
    """
    trials: dict[tuple[int, int], Trial] = {}
    found: dict[str, Parity] = {}
    for variant in bundle.manifest.variants:
        if why_not(variant) is not None:
            continue
        size = (variant.height, variant.width)
        if size not in trials:
            trials[size] = make_reference_trial(bundle, variant, frames, threads)
        with open_variant(variant, bundle.files_of(variant), EngineOptions(threads)) as engine:
            found[variant.name] = measure_parity(engine, trials[size])
    return found


def make_reference_trial(bundle: Bundle, variant: Variant, frames: Path | None, threads: int | None) -> Trial:
    """What the reference graph of the variant's size makes of frames, or of a sampler's latents."""
    kind, channels = bundle.manifest.model.kind, bundle.manifest.input.in_channels
    inputs = read_inputs(kind, frames, variant.height, variant.width, channels)
    with OrtEngine((bundle.reference_for(variant),), "fp32", EngineOptions(threads)) as reference:
        return Trial(inputs, tuple(reference.run(given[None])[0] for given in inputs.arrays))


def missed(variant: Variant, found: dict[str, Parity], min_psnr: float | None) -> bool:
    """Is a variant that ran below its floor?"""
    return found[variant.name].psnr < floor_of(variant.precision, min_psnr)


def _print_table(bundle: Bundle, found: dict[str, Parity], min_psnr: float | None) -> None:
    rows: list[list[str]] = []
    for v in bundle.manifest.variants:
        if v.name not in found:
            rows.append([v.name, decibels(v), "-", "-", "-", f"not run: {why_not(v)}"])
            continue
        p = found[v.name]
        verdict = "misses" if missed(v, found, min_psnr) else "holds"
        ssim = "-" if p.ssim is None else f"{p.ssim:.4f}"
        here = f"{p.psnr:.1f}", f"{p.worst_psnr:.1f}", ssim
        rows.append([v.name, decibels(v), *here, f"{verdict} {floor_of(v.precision, min_psnr):.0f} dB"])
    parity = next(iter(found.values()))
    print_table(
        f"{bundle.manifest.model.name} against its reference, {parity.frames} frames ({parity.frames_from})",
        ("variant", "at export", "here dB", "worst dB", "SSIM", "floor"),
        rows,
    )
