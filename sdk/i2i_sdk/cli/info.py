"""`i2i info BUNDLE_OR_CHECKPOINT`."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

from i2i_sdk.backends import explain_unsupported_variant
from i2i_sdk.bundle.folder import Bundle
from i2i_sdk.bundle.manifest import Manifest, Variant
from i2i_sdk.cli.common import (
    Parser,
    add_options,
    format_decibels,
    format_megabytes,
    format_run_command,
    read_bundle,
)
from i2i_sdk.cli.main import INSPECTORS, run
from i2i_sdk.cli.tables import print_table
from i2i_sdk.errors import BundleError, InputError
from i2i_sdk.selection import load_latencies

MAX_NAMES = 4  # of layers that are listed one by one


def main(argv: Sequence[str]) -> int:
    """Print what a bundle or a checkpoint is. Raises I2IError."""
    parser = Parser(prog="i2i info", description="What a bundle or a checkpoint is.")
    parser.add_argument("source", help="a bundle (x.i2i), a zoo name, a .safetensors or .pth checkpoint")
    add_options(parser.add_argument, json="")
    args = parser.parse_args(argv)
    if inspector := INSPECTORS.get(Path(args.source).suffix):
        return run(inspector, [args.source])
    if args.source.endswith(".onnx") and Path(args.source).is_file():
        advice = f"to translate with it: {format_run_command(args.source)}"
        raise InputError(f"{args.source} is an ONNX file, not a bundle, so it has no manifest; {advice}")
    bundle = read_bundle(args.source)
    if args.json:
        print((bundle.path / "manifest.json").read_text(encoding="utf-8"), end="")
        return 0
    _print_model(bundle.manifest)
    _print_variants(bundle)
    return 0


def _print_model(manifest: Manifest) -> None:
    model, contract = manifest.model, manifest.input
    options = ", ".join(f"{k}={v}" for k, v in model.options.items())
    rows = {
        "model": f"{model.name}, {contract.in_channels} -> {contract.out_channels} channels",
        "network": f"{model.architecture}: {options}",
        "norm mode": model.norm_mode,
        "parameters": f"{model.parameters:,}",
        "trained": f"{model.recipe}, {model.direction}, {model.steps or 'unknown'} steps",
        "on": model.trained_on,
        "license": model.license,
        "checkpoint": f"SHA-256 {model.source_sha256}",
        "written by": f"{manifest.created_by}, schema {manifest.schema}",
    }
    lines = [*rows.items(), *product(["repaired"], model.repairs), *product(["assumed"], model.assumptions)]
    for name, value in lines:
        print(f"{name:<12}{value}")


def _print_variants(bundle: Bundle) -> None:
    variants, measured = bundle.manifest.variants, load_latencies(bundle)
    rows: list[list[str]] = []
    damaged, refused = dict[str, str](), dict[str, str]()  # variant -> reason
    for v in variants:
        worst = f"{v.parity.worst_psnr:.1f}" if v.parity else "-"
        tuned = f"{measured[v.name].median_ms:.1f}" if v.name in measured else "-"
        state = "runs"
        if (reason := bundle.explain_damage(v)) is not None:
            state, damaged[v.name] = "damaged", reason
        elif (reason := explain_unsupported_variant(v)) is not None:
            state, refused[v.name] = "no", reason
        share = f"{v.macs_in_precision:.0%}" if v.macs_in_precision else "weights"
        quality = format_decibels(v), worst, v.verified
        rows.append([v.name, f"{v.macs / 1e9:.2f}", share, format_megabytes(v), *quality, tuned, state])
    headings = ("variant", "GMACs", "in it", "MB", "PSNR", "worst", "verified", "tuned ms", "here")
    print_table("", headings, rows)
    for state, reasons in (("damaged", damaged), ("no", refused)):
        for reason, names in _group_names(reasons).items():
            print(f"{state}: {', '.join(names)}: {reason}")
    for r in bundle.manifest.references:
        try:
            bundle.file(r.file)
        except BundleError as error:
            print(f"damaged: the reference of {r.height}x{r.width}, which i2i verify compares with: {error}")
            print("a new reference: i2i export CHECKPOINT with --force, which replaces the whole bundle")
    if damaged and len(damaged) < len(variants):
        path = shlex.quote(str(bundle.path))
        print(f"without the damaged: i2i bundle trim {path} {' '.join(map(shlex.quote, damaged))}")
    if parity := variants[0].parity:
        print(f"PSNR: dB against PyTorch, mean of {parity.frames} frames ({parity.frames_from})")
    if any(v.macs_in_precision < 1 for v in variants):
        print("in it: share of the multiplications that are done in the variant's precision")
    for v in variants:
        if v.precision_kept:
            print(f"{v.name} keeps {format_kept_precision(v)}")
        if v.verified_by:
            print(f"{v.name}: its {v.verified} was verified by {v.verified_by}")
    for text, names in _group_names({v.name: format_requirements(v) for v in variants}).items():
        print(f"needs {text}: {', '.join(names)}")


def format_kept_precision(variant: Variant) -> str:
    """What of a variant is in a higher precision: "in fp32: model.19, model.22"."""
    groups = _group_names(variant.precision_kept)
    return "; ".join(f"in {precision}: {_join_names(names)}" for precision, names in groups.items())


def _group_names(values: Mapping[str, str]) -> dict[str, list[str]]:
    """Value -> the names that have it."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, value in values.items():
        groups[value].append(name)
    return groups


def _join_names(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= MAX_NAMES else f"{len(names)} layers (--json names them)"


def format_requirements(variant: Variant) -> str:
    """What a device must have for a variant, in one line."""
    requires = variant.requires
    gpus = ", ".join(requires.compute_capabilities)
    parts = [requires.engine, *(f"a CPU with {feature}" for feature in requires.cpu)]
    parts += [" or ".join(requires.os), f"an NVIDIA GPU of {gpus}" if gpus else ""]
    return ", ".join(filter(None, parts))
