"""How close variants come to a bundle's reference graph, on this device and without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from i2i_sdk.backends import open_variant, why_not
from i2i_sdk.backends.base import EngineOptions
from i2i_sdk.backends.ort import OrtEngine
from i2i_sdk.bundle import Bundle
from i2i_sdk.errors import BackendError, BundleError
from i2i_sdk.manifest import Parity, Variant
from i2i_sdk.parity import Trial, measure_parity, read_inputs


@dataclass(frozen=True)
class Outcome:
    """What became of a variant: its parity here, or why there is none."""

    parity: Parity | None
    reason: str = ""
    broken: bool = False  # it should run here, and does not


def verify_bundle(bundle: Bundle, frames: Path | None, threads: int | None) -> dict[str, Outcome]:
    """Every variant, by name, against the reference of its size, where it runs here.

    frames: as `read_frames` takes them; a sampler's variants are compared on latents. Raises InputError,
    MediaError, BundleError for a changed reference, and BackendError when it does not run.
    """
    trials: dict[tuple[int, int], Trial] = {}
    found: dict[str, Outcome] = {}
    for variant in bundle.manifest.variants:
        if reason := why_not(variant):
            found[variant.name] = Outcome(None, reason)
            continue
        size = (variant.height, variant.width)
        if size not in trials:
            trials[size] = reference_trial(bundle, variant, frames, threads)
        try:
            with open_variant(variant, bundle.files_of(variant), EngineOptions(threads)) as engine:
                found[variant.name] = Outcome(measure_parity(engine, trials[size]))
        except (BackendError, BundleError) as error:  # a changed file is that variant's fault alone
            found[variant.name] = Outcome(None, str(error), broken=True)
    return found


def reference_trial(bundle: Bundle, variant: Variant, frames: Path | None, threads: int | None) -> Trial:
    """What the reference graph of the variant's size makes of frames, or of a sampler's latents.

    It runs in ONNX Runtime. Raises as `verify_bundle`.
    """
    kind, channels = bundle.manifest.model.kind, bundle.manifest.input.in_channels
    inputs = read_inputs(kind, frames, variant.height, variant.width, channels)
    with OrtEngine((bundle.reference_for(variant),), "fp32", EngineOptions(threads)) as reference:
        return Trial(inputs, tuple(reference.run(given[None])[0] for given in inputs.arrays))
