"""`i2i info BUNDLE_OR_CHECKPOINT`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from i2i_sdk.backends import why_not
from i2i_sdk.bundle import Bundle
from i2i_sdk.cli import INSPECTORS, run
from i2i_sdk.commands.common import decibels, megabytes, read_bundle
from i2i_sdk.manifest import Manifest
from i2i_sdk.tables import print_table
from i2i_sdk.tuning import load_latencies


def main(argv: Sequence[str]) -> int:
    """Print what a bundle or a checkpoint is. Raises I2IError."""
    parser = argparse.ArgumentParser(prog="i2i info", description="What a bundle or a checkpoint is.")
    parser.add_argument("source", help="a bundle (x.i2i), a zoo name, a .safetensors or .pth checkpoint")
    parser.add_argument("--json", action="store_true", help="print the bundle's manifest")
    args = parser.parse_args(argv)
    inspector = INSPECTORS.get(Path(args.source).suffix)
    if inspector is not None:
        return run(inspector, [args.source])
    bundle = read_bundle(args.source)
    if args.json:
        print((bundle.path / "manifest.json").read_text(encoding="utf-8"), end="")
        return 0
    _print_model(bundle.manifest)
    _print_variants(bundle)
    return 0


def _print_model(manifest: Manifest) -> None:
    model, contract = manifest.model, manifest.input
    takes = f"{contract.in_channels}{' random numbers' if model.kind == 'sampler' else ''}"
    options = ", ".join(f"{k}={v}" for k, v in model.options.items())
    rows = {
        "model": f"{model.name} ({model.kind}), {takes} -> {contract.out_channels} channels",
        "network": f"{model.architecture}: {options}",
        "norm mode": model.norm_mode,
        "parameters": f"{model.parameters:,}",
        "trained": f"{model.recipe}, {model.direction}, {model.steps or 'unknown'} steps",
        "on": model.trained_on,
        "licence": model.licence,
        "checkpoint": f"SHA-256 {model.source_sha256}",
        "written by": f"{manifest.created_by}, schema {manifest.schema}",
    }
    lines = [
        *rows.items(),
        *(("repaired", r) for r in model.repairs),
        *(("assumed", a) for a in model.assumptions),
    ]
    for name, value in lines:
        print(f"{name:<12}{value}")


def _print_variants(bundle: Bundle) -> None:
    latencies = load_latencies(bundle)
    rows: list[list[str]] = []
    for v in bundle.manifest.variants:
        worst = f"{v.parity.worst_psnr:.1f}" if v.parity else "-"
        tuned = f"{latencies[v.name]:.1f}" if v.name in latencies else "-"
        reason = why_not(v)
        state = "runs" if reason is None else f"no: {reason}"
        rows.append(
            [v.name, f"{v.macs / 1e9:.2f}", megabytes(v), decibels(v), worst, v.verified, tuned, state]
        )
    print_table("", ("variant", "GMACs", "MB", "PSNR", "worst", "verified", "tuned ms", "here"), rows)
    if parity := bundle.manifest.variants[0].parity:
        print(f"PSNR: dB against PyTorch, mean of {parity.frames} frames ({parity.frames_from})")
