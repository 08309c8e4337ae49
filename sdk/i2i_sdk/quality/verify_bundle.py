"""Verify a bundle: how close its variants come to its reference graph, on this device, without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from i2i_sdk.backends import explain_unsupported_variant, open_variant
from i2i_sdk.backends.base import EngineOptions, check_translator
from i2i_sdk.backends.ort.ort_engine import OrtEngine
from i2i_sdk.bundle.folder import Bundle
from i2i_sdk.bundle.manifest import Parity, Variant
from i2i_sdk.errors import BackendError, BundleError, I2IError, InputError
from i2i_sdk.quality.eval_frames import read_inputs
from i2i_sdk.quality.parity import ParityCase, measure_parity


@dataclass(frozen=True)
class VerifyOutcome:
    """What became of a variant: its parity here, or why there is none."""

    parity: Parity | None
    reason: str = ""
    is_broken: bool = False  # it should run here, and does not


def verify_bundle(bundle: Bundle, frames: Path | None, threads: int | None) -> dict[str, VerifyOutcome]:
    """Every variant, by name, against the reference of its size, where it runs here.

    Args:
        bundle: that was read.
        frames: a folder of images or a video; None takes the photos that scikit-image ships.
        threads: of the engines; None takes each one's default.

    Returns:
        Parity by the variant's name, or the reason why there is none.

    Raises:
        InputError, MediaError: the frames cannot be had.
        BundleError: every reference that is needed was changed.
        BackendError, InputError: it does not run, or is no translator.
    """
    trials: dict[tuple[int, int], ParityCase | I2IError] = {}  # by size: what to compare with, or why not
    found: dict[str, VerifyOutcome] = {}
    for variant in bundle.manifest.variants:
        if reason := explain_unsupported_variant(variant):
            found[variant.name] = VerifyOutcome(None, reason)
            continue
        size = (variant.height, variant.width)
        if size not in trials:
            try:
                trials[size] = make_reference_case(bundle, variant, frames, threads)
            except (BackendError, BundleError) as error:
                trials[size] = error
        case = trials[size]
        if isinstance(case, I2IError):
            found[variant.name] = VerifyOutcome(None, f"nothing to compare with: {case}", is_broken=True)
            continue
        try:
            with open_variant(variant, bundle.files_of(variant), EngineOptions(threads)) as engine:
                check_translator(engine, variant.name, size)
                found[variant.name] = VerifyOutcome(measure_parity(engine, case))
        except (BackendError, BundleError, InputError) as error:  # that variant's fault alone
            found[variant.name] = VerifyOutcome(None, str(error), is_broken=True)
    problems = [case for case in trials.values() if isinstance(case, I2IError)]
    if problems and len(problems) == len(trials):
        raise problems[0]
    return found


def make_reference_case(
    bundle: Bundle, variant: Variant, frames: Path | None, threads: int | None
) -> ParityCase:
    """What the reference graph of the variant's size makes of frames.

    Args:
        bundle: that was read.
        variant: one of the bundle's.
        frames: as `verify_bundle` takes them.
        threads: of ONNX Runtime, which runs it; None takes its default.

    Returns:
        The frames, and what each has to become: uint8 [H, W, C_out] RGB.

    Raises:
        InputError, MediaError, BundleError, BackendError: as `verify_bundle`.
    """
    size = variant.height, variant.width
    graph = bundle.reference_for(variant)
    inputs = read_inputs(frames, *size, bundle.manifest.input.in_channels)
    with OrtEngine((graph,), "fp32", EngineOptions(threads)) as reference:
        check_translator(reference, graph, size)
        return ParityCase(inputs, tuple(reference.run(values[None])[0] for values in inputs.arrays))
