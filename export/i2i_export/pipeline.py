"""checkpoint -> module -> graph -> target -> parity on real frames -> bundle."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import nn

from i2i_export.canonical import make_example_input, wrap_for_export, write_onnx
from i2i_export.job import Job
from i2i_export.options import ExportOptions
from i2i_export.targets import TARGETS, TargetRequest
from i2i_export.verify_variant import VerifiedVariant, make_parity_case
from i2i_sdk import __version__
from i2i_sdk.bundle.folder import Bundle, find_existing_bundle, write_bundle
from i2i_sdk.bundle.manifest import (
    MAX_BATCH,
    SAMPLER_ADVICE,
    SCHEMA,
    InputContract,
    Manifest,
    ModelInfo,
    Reference,
)
from i2i_sdk.errors import BackendError, ExportError
from i2i_sdk.files import create_temporary_folder
from i2i_training.checkpoint import load_generator
from i2i_training.networks import DcganConfig, GeneratorSpec, count_macs, count_parameters

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportResult:
    """The bundle, and each new variant with how long one frame took here."""

    bundle: Bundle
    variants: tuple[VerifiedVariant, ...]
    skipped: tuple[str, ...]  # what was not required and could not be made, with the reasons


def export(
    checkpoint: Path,
    targets: Sequence[TargetRequest | tuple[str, str]],
    out: Path,
    options: ExportOptions | None = None,
    progress: Callable[[str], None] = log.info,
) -> ExportResult:
    """Export `checkpoint` to every (target, precision) and write or extend the bundle `out`.

    All or nothing: a variant that cannot be built or misses its floor raises and leaves `out` as it was.
    Only one that is not required (see `TargetRequest`) is left out instead.
    `progress` is told in a few words what is being done.
    Raises CheckpointError, ExportError (ParityError among them), BackendError, BundleError.
    """
    options = options or ExportOptions()
    module, spec = _load_translator(checkpoint, options)
    height, width = check_size(options.size or (spec.default_side, spec.default_side), spec)
    model = describe_model(checkpoint, spec, count_parameters(module), options)
    old = find_existing_bundle(out, model, options.force)
    requests = [t if isinstance(t, TargetRequest) else TargetRequest(*t) for t in targets]
    parity_case = make_parity_case(
        module, spec, options.frames, height, width, part=_choose_part(requests, options)
    )

    with create_temporary_folder(out) as parent:
        folder, scratch = parent / "bundle", parent / "scratch"
        folder.mkdir()
        scratch.mkdir()
        graph = folder / _choose_reference_name(old, height, width)
        ready = wrap_for_export(module, spec)
        write_onnx(ready, make_example_input(spec, height, width, batch=2), graph)
        macs = count_macs(module, *spec.get_input_shape(height, width))
        job = Job(
            ready,
            spec,
            graph,
            folder,
            scratch,
            height,
            width,
            MAX_BATCH,
            macs,
            parity_case,
            options,
            progress,
        )
        checked, left_out = _build_variants(requests, job)
        manifest = Manifest(
            schema=SCHEMA,
            created_by=f"i2i-sdk {__version__}",
            model=model,
            input=InputContract(spec.config.in_channels, spec.config.out_channels, spec.config.multiple_of),
            references=(Reference(height, width, job.make_file_entry(graph)),),
            variants=tuple(c.variant for c in checked),
        )
        bundle = write_bundle(out, manifest, folder, force=options.force)
    return ExportResult(bundle, tuple(checked), tuple(left_out))


def _load_translator(checkpoint: Path, options: ExportOptions) -> tuple[nn.Module, GeneratorSpec]:
    """The generator and its spec. Raises ExportError for one that makes images of noise or goes elsewhere."""
    module, spec = load_generator(
        checkpoint, norm_mode=options.norm_mode, padding=options.padding, upsample=options.upsample
    )
    if isinstance(spec.config, DcganConfig):
        raise ExportError(f"{checkpoint}: {SAMPLER_ADVICE}")
    if options.direction not in (None, spec.direction) and spec.direction != "unknown":
        raise ExportError(f"{checkpoint}: was trained {spec.direction}, not {options.direction}")
    return module, spec


def check_size(size: tuple[int, int], spec: GeneratorSpec) -> tuple[int, int]:
    """Return `size` if the network can take it. Raises ExportError naming the nearest sizes that it can."""
    multiple = spec.config.multiple_of
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
        architecture=spec.config.architecture,
        options=asdict(spec.config),
        norm_mode=spec.norm_mode,
        recipe=spec.recipe,
        direction=options.direction or spec.direction,
        steps=spec.steps,
        parameters=parameters,
        source_sha256=spec.source_sha256,
        license=options.license or spec.license,
        trained_on=options.trained_on or spec.trained_on,
        repairs=spec.repairs,
        assumptions=spec.assumptions,
    )


def _choose_reference_name(old: Bundle | None, height: int, width: int) -> str:
    """`reference.onnx` for a bundle's first size; further sizes say which they are."""
    for reference in old.manifest.references if old else ():
        if (reference.height, reference.width) == (height, width):
            return reference.file.path
    return f"reference_{height}x{width}.onnx" if old else "reference.onnx"


def _choose_part(requests: Sequence[TargetRequest], options: ExportOptions) -> str:
    """Every second frame, where the others are to be calibrated on; see `read_frames`."""
    calibrates = any(w.precision == "int8" for w in requests)
    return "even" if calibrates and options.frames and not options.calibration else "all"


def _build_variants(requests: Sequence[TargetRequest], job: Job) -> tuple[list[VerifiedVariant], list[str]]:
    """Every variant that could be made, and why others could not.

    Raises ExportError, BackendError for a required one.
    """
    checked: list[VerifiedVariant] = []
    left_out: list[str] = []
    for target, precision, required in requests:
        try:
            checked.append(_build_variant(target, precision, job))
        except (ExportError, BackendError) as error:
            if required:
                raise
            left_out.append(f"{target}:{precision}: {error}")
    return checked, left_out


def _build_variant(name: str, precision: str, job: Job) -> VerifiedVariant:
    target = TARGETS[name]
    job.progress(f"{name} {precision}: building")
    variant = target.export(job, precision)
    job.progress(f"{name} {precision}: comparing {len(job.parity_case.expected)} pictures with PyTorch's")
    return target.verify(variant, job)
