"""checkpoint -> module -> graph -> target -> parity on real frames (a sampler: latents) -> bundle."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from i2i_export.graph import MAX_BATCH, write_onnx
from i2i_export.job import Checked, Job
from i2i_export.module import deployed, example_input
from i2i_export.options import ExportOptions
from i2i_export.parity import make_trial
from i2i_export.targets import TARGETS
from i2i_export.wanted import Wanted
from i2i_sdk import __version__
from i2i_sdk.bundle import Bundle, existing_bundle, write_bundle
from i2i_sdk.errors import BackendError, ExportError
from i2i_sdk.files import temporary_folder
from i2i_sdk.manifest import SCHEMA, InputContract, Manifest, ModelInfo, Reference
from i2i_training.checkpoint import load_generator
from i2i_training.networks import GeneratorSpec, count_macs, count_parameters

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exported:
    """The bundle, and each new variant with how long one frame took here."""

    bundle: Bundle
    variants: tuple[Checked, ...]
    left_out: tuple[str, ...]  # what was not required and could not be made, with the reasons


def export_bundle(
    checkpoint: Path,
    targets: Sequence[Wanted | tuple[str, str]],
    out: Path,
    options: ExportOptions | None = None,
    progress: Callable[[str], None] = log.info,
) -> Exported:
    """Export `checkpoint` to every (target, precision) and write or extend the bundle `out`.

    All or nothing: a variant that cannot be built or misses its floor raises and leaves `out` as it was.
    Only one that is not required (see `Wanted`) is left out instead.
    `progress` is told in a few words what is being done.
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
    wanted = [t if isinstance(t, Wanted) else Wanted(*t) for t in targets]
    trial = make_trial(module, spec, options.frames, height, width, part=_part_to_compare(wanted, options))

    with temporary_folder(out) as parent:
        folder, scratch = parent / "bundle", parent / "scratch"
        folder.mkdir()
        scratch.mkdir()
        graph = folder / _reference_name(old, height, width)
        ready = deployed(module, spec)
        write_onnx(ready, example_input(spec, height, width, batch=2), graph)
        macs = count_macs(module, *spec.input_shape(height, width))
        job = Job(
            ready, spec, graph, folder, scratch, height, width, MAX_BATCH, macs, trial, options, progress
        )
        checked, left_out = _all_checked(wanted, job)
        manifest = Manifest(
            schema=SCHEMA,
            created_by=f"i2i-sdk {__version__}",
            model=model,
            input=InputContract(
                spec.config.in_channels, spec.config.out_channels, multiple_of=spec.config.multiple_of
            ),
            references=(Reference(height, width, job.entry(graph)),),
            variants=tuple(c.variant for c in checked),
        )
        bundle = write_bundle(out, manifest, folder, force=options.force)
    return Exported(bundle, tuple(checked), tuple(left_out))


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


def _part_to_compare(wanted: Sequence[Wanted], options: ExportOptions) -> str:
    """Every second frame, where the others are to be calibrated on; see `read_frames`."""
    calibrates = any(w.precision == "int8" for w in wanted)
    return "even" if calibrates and options.frames and not options.calibration else "all"


def _all_checked(wanted: Sequence[Wanted], job: Job) -> tuple[list[Checked], list[str]]:
    """Every variant that could be made, and why others could not.

    Raises ExportError, BackendError for a required one.
    """
    checked: list[Checked] = []
    left_out: list[str] = []
    for target, precision, required in wanted:
        try:
            checked.append(_built_and_checked(target, precision, job))
        except (ExportError, BackendError) as error:
            if required:
                raise
            left_out.append(f"{target}:{precision}: {error}")
    return checked, left_out


def _built_and_checked(name: str, precision: str, job: Job) -> Checked:
    target = TARGETS[name]
    job.progress(f"{name} {precision}: building")
    variant = target.export(job, precision)
    job.progress(f"{name} {precision}: comparing {len(job.trial.expected)} pictures with PyTorch's")
    return target.verify(variant, job)
