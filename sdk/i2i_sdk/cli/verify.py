"""`i2i verify BUNDLE`: measure again, here, how close every variant is to the bundle's reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from i2i_sdk.bundle.folder import Bundle
from i2i_sdk.bundle.manifest import Variant
from i2i_sdk.cli.common import Parser, add_options, format_decibels, parse_measuring, read_bundle
from i2i_sdk.cli.tables import print_table
from i2i_sdk.perf.bench import make_none_runs_error
from i2i_sdk.quality.floors import choose_floor
from i2i_sdk.quality.verify_bundle import VerifyOutcome, verify_bundle


def main(argv: Sequence[str]) -> int:
    """Compare, print a table; 1 if a variant misses its floor or is broken. Raises I2IError."""
    text = "Compare every variant that runs here with the bundle's FP32 reference."
    parser = Parser(prog="i2i verify", description=text)
    add_options(parser.add_argument, min_psnr="each precision's floor")
    args = parse_measuring(parser, argv, "scikit-image's photos")
    bundle = read_bundle(args.bundle)
    found = verify_bundle(bundle, args.frames, args.threads)
    if not any(outcome.parity or outcome.is_broken for outcome in found.values()):
        raise make_none_runs_error(bundle, {name: outcome.reason for name, outcome in found.items()})
    _print_table(bundle, found, args.min_psnr)
    for v in bundle.manifest.variants:
        outcome = found[v.name]
        if outcome.parity is None:
            print(f"{v.name} {'broken' if outcome.is_broken else 'not run'}: {outcome.reason}")
            if v.verified_by:
                print(f"  at export its {v.verified} was verified by {v.verified_by}")
    missed = [v.name for v in bundle.manifest.variants if _is_below_floor(v, found[v.name], args.min_psnr)]
    broken = any(outcome.is_broken for outcome in found.values())
    if missed:
        print(f"missed the floor: {', '.join(missed)}")
    elif not broken:
        print("every variant that runs here is verified")
    return 1 if missed or broken else 0


def _is_below_floor(variant: Variant, outcome: VerifyOutcome, min_psnr: float | None) -> bool:
    return outcome.parity is not None and outcome.parity.psnr < choose_floor(variant.precision, min_psnr)


def _print_table(bundle: Bundle, found: Mapping[str, VerifyOutcome], min_psnr: float | None) -> None:
    rows: list[list[str]] = []
    for v in bundle.manifest.variants:
        outcome = found[v.name]
        at_export = format_decibels(v), v.verified
        if outcome.parity is None:
            rows.append([v.name, *at_export, "-", "-", "-", "broken" if outcome.is_broken else "not run"])
            continue
        p = outcome.parity
        verdict = "misses" if _is_below_floor(v, outcome, min_psnr) else "holds"
        ssim = "-" if p.ssim is None else f"{p.ssim:.4f}"
        here = f"{p.psnr:.1f}", f"{p.worst_psnr:.1f}", ssim
        rows.append([v.name, *at_export, *here, f"{verdict} {choose_floor(v.precision, min_psnr):.0f} dB"])
    parity = next((outcome.parity for outcome in found.values() if outcome.parity), None)
    frames = f", {parity.frames} frames ({parity.frames_from})" if parity else ""
    headings = ("variant", "at export", "verified", "here dB", "worst dB", "SSIM", "floor")
    print_table(f"{bundle.manifest.model.name} against its reference{frames}", headings, rows)
