"""checkpoint -> module -> graph -> target -> parity on real frames (a sampler: latents) -> bundle."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from i2i_export.graph import MAX_BATCH, write_onnx
from i2i_export.module import deployed, example_input
from i2i_export.parity import make_trial, require_floor
from i2i_export.targets import TARGETS, Job
from i2i_sdk import __version__
from i2i_sdk.backends import open_variant
from i2i_sdk.bundle import Bundle, existing_bundle, file_entry, write_bundle
from i2i_sdk.errors import ExportError
from i2i_sdk.files import temporary_folder
from i2i_sdk.manifest import SCHEMA, InputContract, Manifest, ModelInfo, Reference, Variant
from i2i_sdk.measure import Timing, interleaved, statistics
from i2i_sdk.parity import Trial, measure_parity
from i2i_training.checkpoint import load_generator
from i2i_training.networks import GeneratorSpec, count_macs, count_parameters

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportOptions:
    """How `export_bundle` goes about it; None means what the checkpoint says or the default."""

    size: tuple[int, int] | None = None  # height, width; default: the size it was trained at, else 256
    frames: Path | None = None  # folder or video for parity; default: scikit-image's photos
    min_psnr: float | None = None  # dB; default: the precision's floor
    force: bool = False  # replace a bundle of another checkpoint
    direction: str | None = None  # refused when the checkpoint says another one
    # what a .pth cannot say of itself
    norm_mode: str | None = None
    padding: str | None = None
    upsample: str | None = None
    name: str | None = None
    licence: str | None = None
    trained_on: str | None = None


@dataclass(frozen=True)
class Exported:
    """The bundle, and each new variant with how long one frame took here."""

    bundle: Bundle
    variants: tuple[tuple[Variant, Timing], ...]


def export_bundle(
    checkpoint: Path, targets: Sequence[tuple[str, str]], out: Path, options: ExportOptions | None = None
) -> Exported:
    """Export `checkpoint` to every (target, precision) and write or extend the bundle `out`.

    All or nothing: a target that cannot be built or misses its floor raises and leaves `out` as it was.
    Raises CheckpointError, ExportError (ParityError among them), BackendError, BundleError.
    """
    options = options or ExportOptions()
    module, spec = load_generator(
        checkpoint, norm_mode=options.norm_mode, padding=options.padding, upsample=options.upsample
    )
    if options.direction not in (None, spec.direction) and spec.direction != "unknown":
        raise ExportError(f"{checkpoint}: was trained {spec.direction}, not {options.direction}")
    height, width = checked_size(options.size or _default_size(spec), spec)
    model = describe_model(checkpoint, spec, count_parameters(module), options)
    old = existing_bundle(out, model, options.force)
    trial = make_trial(module, spec, options.frames, height, width)

    with temporary_folder(out) as folder:
        graph = folder / _reference_name(old, height, width)
        write_onnx(deployed(module, spec), example_input(spec, height, width, batch=2), graph)
        macs = count_macs(module, *spec.input_shape(height, width))
        entry = file_entry(folder, graph)
        job = Job(graph, entry, folder, height, width, MAX_BATCH, macs)
        built = [TARGETS[target].export(job, precision) for target, precision in targets]
        checked = [_verified(v, folder, trial, options.min_psnr) for v in built]
        manifest = Manifest(
            schema=SCHEMA,
            created_by=f"i2i-sdk {__version__}",
            model=model,
            input=InputContract(
                spec.config.in_channels, spec.config.out_channels, multiple_of=spec.config.multiple_of
            ),
            references=(Reference(height, width, entry),),
            variants=tuple(variant for variant, _ in checked),
        )
        bundle = write_bundle(out, manifest, folder, force=options.force)
    return Exported(bundle, tuple(checked))


def checked_size(size: tuple[int, int], spec: GeneratorSpec) -> tuple[int, int]:
    """Return `size` if the network can take it. Raises ExportError naming the nearest sizes that it can."""
    multiple = spec.config.multiple_of
    if spec.kind == "sampler" and size != (multiple, multiple):
        raise ExportError(
            f"size {size[0]}x{size[1]}: this sampler makes {multiple}x{multiple} only; leave --size out"
        )
    if any(side % multiple or side < multiple for side in size):
        near = [max(multiple, round(side / multiple) * multiple) for side in size]
        raise ExportError(
            f"size {size[0]}x{size[1]}: both sides must be multiples of {multiple} for this "
            f"{spec.config.architecture}; the nearest is {near[0]}x{near[1]}"
        )
    return size


def describe_model(
    checkpoint: Path, spec: GeneratorSpec, parameters: int, options: ExportOptions
) -> ModelInfo:
    """The manifest's page about the model."""
    name = options.name or (
        checkpoint.parent.name if checkpoint.stem.startswith("latest_net") else checkpoint.stem
    )
    return ModelInfo(
        name=name or checkpoint.stem,
        kind=spec.kind,
        architecture=spec.config.architecture,
        options=asdict(spec.config),
        norm_mode=spec.norm_mode,
        recipe=spec.recipe,
        direction=options.direction or spec.direction,
        steps=spec.steps,
        parameters=parameters,
        source_sha256=spec.source_sha256,
        licence=options.licence or spec.licence,
        trained_on=options.trained_on or spec.trained_on,
        repairs=spec.repairs,
        assumptions=spec.assumptions,
    )


def _default_size(spec: GeneratorSpec) -> tuple[int, int]:
    side = spec.config.multiple_of if spec.kind == "sampler" else spec.size or 256
    return side, side


def _reference_name(old: Bundle | None, height: int, width: int) -> str:
    """`reference.onnx` for a bundle's first size; further sizes say which they are."""
    for reference in old.manifest.references if old else ():
        if (reference.height, reference.width) == (height, width):
            return reference.file.path
    return f"reference_{height}x{width}.onnx" if old else "reference.onnx"


def _verified(variant: Variant, folder: Path, trial: Trial, min_psnr: float | None) -> tuple[Variant, Timing]:
    """Run the variant as a user would: its parity, its effective precision, its time."""
    with open_variant(variant, tuple(folder / f.path for f in variant.files), threads=None) as engine:
        parity = measure_parity(engine, trial)
        require_floor(variant.name, variant.precision, parity, min_psnr)
        times = interleaved({"run": lambda: engine.run(trial.inputs.arrays[0][None])}, rounds=30)["run"]
        found = replace(variant, parity=parity, precision_found=engine.precision, verified="device")
        return found, statistics(times)


def parse_targets(text: str) -> list[tuple[str, str]]:
    """ "ort,openvino:bf16" -> [("ort", "fp32"), ("openvino", "bf16")].

    A name without a precision means all that this machine can verify. Raises ExportError.
    """
    found: list[tuple[str, str]] = []
    for part in text.split(","):
        name, _, precision = part.strip().partition(":")
        if name not in TARGETS:
            raise ExportError(f"target {name!r} is not known; known: {', '.join(TARGETS)}")
        target = TARGETS[name]
        if precision and precision not in target.precisions:
            raise ExportError(
                f"target {name} has no precision {precision!r}; it has {', '.join(target.precisions)}"
            )
        wanted = (precision,) if precision else target.default_precisions()
        if left_out := [p for p in target.precisions if not precision and p not in wanted]:
            log.warning(
                "%s: left out %s, which this machine cannot run and verify", name, ", ".join(left_out)
            )
        found += [(name, p) for p in wanted if (name, p) not in found]
    return found
