"""checkpoint -> module -> graph -> target -> parity on real frames -> bundle."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from i2i_export.canonical import make_example_input, wrap_for_export, write_onnx
from i2i_export.job import Job
from i2i_export.options import ExportOptions, StrPath
from i2i_export.targets import TARGETS, TargetRequest, parse_targets
from i2i_export.verify_variant import VerifiedVariant, make_parity_case
from i2i_sdk import __version__
from i2i_sdk.bundle.decoding import DecodeError, decode
from i2i_sdk.bundle.folder import Bundle, find_existing_bundle, make_file_entry, write_bundle
from i2i_sdk.bundle.manifest import SCHEMA, InputContract, Manifest, ModelInfo, Reference
from i2i_sdk.errors import BackendError, ExportError, InputError, get_first_line, redact_credentials
from i2i_sdk.files import create_temporary_folder
from i2i_sdk.selection import parse_size
from i2i_training.checkpoint import LATEST, load_generator
from i2i_training.networks import GeneratorSpec, count_macs, count_parameters

log = logging.getLogger(__name__)

DEFAULT_TARGETS = "ort,openvino"


@dataclass(frozen=True)
class ExportResult:
    """The bundle, and each new variant with how long one frame took here."""

    bundle: Bundle
    variants: tuple[VerifiedVariant, ...]
    skipped: tuple[str, ...]  # what was not required and could not be made, with the reasons


def export(
    checkpoint: StrPath,
    to: str | Sequence[TargetRequest | tuple[str, str]] = DEFAULT_TARGETS,
    out: StrPath | None = None,
    options: ExportOptions | None = None,
    progress: Callable[[str], None] = log.info,
    **named: Any,
) -> ExportResult:
    """Export a generator to a bundle, as `i2i export` does; what fails leaves `out` as it was.

    Args:
        checkpoint: `.safetensors`, upstream `.pth`, or the folder of a run.
        to: targets and precisions, "ort:fp32,openvino", or pairs of them; see `parse_targets`.
        out: the bundle to write or extend, NAME.i2i; None names it after the checkpoint.
        options: of a call that says none of them by name.
        progress: is called with a few words on each step when it begins; what follows a comma says how far
            the same step has come.
        named: fields of ExportOptions, which win over `options`: frames="photos", size=512 …

    Returns:
        The bundle, its new variants with their parity, and what was not required and could not be made.

    Raises:
        CheckpointError: for a file that cannot be read.
        ExportError: for a variant that cannot be built; ParityError, which is one, for a missed floor.
        BackendError: for an engine that is missing or fails.
        BundleError: for an `out` that is something else.
        InputError: for frames that are not there.

    Example:
        >>> export("latest_net_G.pth", out="zebra.i2i", frames="photos").bundle.path  # doctest: +SKIP
        PosixPath('zebra.i2i')
    """
    options = replace(options or ExportOptions(), **named)
    _check_frames(options)
    file, out = find_checkpoint(Path(checkpoint), options), choose_bundle_path(checkpoint, out)
    progress(f"reading {file.name}")
    module, spec = _load_translator(file, options)
    height, width = check_size(parse_size(options.size or spec.default_side), spec)
    macs = _count_macs(module, spec, height, width)
    model = _describe_model(out, spec, count_parameters(module), options)
    old = find_existing_bundle(out, model, options.force)
    pairs = parse_targets(to, options) if isinstance(to, str) else to
    requests = [t if isinstance(t, TargetRequest) else TargetRequest(*t) for t in pairs]
    progress("PyTorch: the pictures to compare with")
    part = _choose_part(requests, options)
    frames = None if options.frames is None else Path(options.frames)
    parity_case = make_parity_case(module, spec, frames, height, width, part=part)

    with create_temporary_folder(out) as parent:
        folder, scratch = parent / "bundle", parent / "scratch"
        folder.mkdir()
        scratch.mkdir()
        progress(f"writing the graph for {height}x{width}")
        ready, graph = wrap_for_export(module, spec), folder / _choose_reference_name(old, height, width)
        write_onnx(ready, make_example_input(spec, height, width, batch=2), graph)
        job = Job(ready, spec, graph, folder, scratch, height, width, macs, parity_case, options, progress)
        checked, left_out = _build_variants(requests, job)
        bundle = write_bundle(out, _make_manifest(model, job, checked), job.folder, force=options.force)
    return ExportResult(bundle, tuple(checked), tuple(left_out))


def _check_frames(options: ExportOptions) -> None:
    """Raise InputError for frames that are not there, before any work is done."""
    for source in (options.frames, options.calibration):
        if source is not None and not Path(source).exists():
            raise InputError(f"{redact_credentials(str(source))}: no such file or folder")


def find_checkpoint(path: Path, options: ExportOptions) -> Path:
    """A file as it is; in a run's folder its latest generator of the direction. Raises ExportError."""
    direction = options.direction or "AtoB"
    names = [f"{LATEST}_{direction[0]}", LATEST]
    found = [path / f"{name}{suffix}" for name in names for suffix in (".safetensors", ".pth")]
    if not path.is_dir():
        return path
    if file := next((each for each in found if each.is_file()), None):
        return file
    raise ExportError(f"{path}: no {' or '.join(names)} (.safetensors, .pth) for {direction} in it")


def choose_bundle_path(checkpoint: StrPath, out: StrPath | None) -> Path:
    """Where the bundle goes. Raises ExportError for a name that is no bundle's."""
    path = Path(checkpoint)
    chosen = Path(out or f"{path.resolve().name if path.is_dir() else path.stem}.i2i")
    if chosen.suffix != ".i2i":
        raise ExportError(f"-o {chosen}: a bundle is a folder whose name ends in .i2i")
    return chosen


def _load_translator(checkpoint: Path, options: ExportOptions) -> tuple[nn.Module, GeneratorSpec]:
    """The generator and its spec. Raises ExportError for one that no Translator runs, or goes elsewhere."""
    module, spec = load_generator(
        checkpoint, norm_mode=options.norm_mode, padding=options.padding, upsample=options.upsample
    )
    if problem := spec.explain_no_bundle():
        raise ExportError(f"{checkpoint}: {problem}")
    if broken := [name for name, value in module.state_dict().items() if not value.isfinite().all()]:
        raise ExportError(
            f"{checkpoint}: {broken[0]} is not finite, so its training failed; take an earlier one"
        )
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


def _count_macs(module: nn.Module, spec: GeneratorSpec, height: int, width: int) -> int:
    """Multiply-accumulates of one picture. Raises ExportError where the network has nothing left of it."""
    try:
        return count_macs(module, *spec.get_input_shape(height, width))
    except (RuntimeError, ValueError) as error:  # a border as wide as the map, or a norm over one pixel
        raise ExportError(
            f"size {height}x{width}: too small for this {spec.config.architecture} "
            f"({get_first_line(error)}); try --size {4 * max(height, width)}"
        ) from error


def _describe_model(bundle: Path, spec: GeneratorSpec, parameters: int, options: ExportOptions) -> ModelInfo:
    """The manifest's page about the model, which is named like its bundle.

    Raises ExportError for a text that no manifest may have.
    """
    model = ModelInfo(
        name=options.name or bundle.stem,
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
    try:
        return decode(ModelInfo, asdict(model), "model")
    except DecodeError as error:
        raise ExportError(str(error)) from error


def _choose_reference_name(old: Bundle | None, height: int, width: int) -> str:
    """`reference.onnx` for a bundle's first size; further sizes say which they are."""
    for reference in old.manifest.references if old else ():
        if (reference.height, reference.width) == (height, width):
            return reference.file.path
    return f"reference_{height}x{width}.onnx" if old else "reference.onnx"


def _make_manifest(model: ModelInfo, job: Job, checked: Sequence[VerifiedVariant]) -> Manifest:
    config = job.spec.config
    return Manifest(
        schema=SCHEMA,
        created_by=f"i2i-sdk {__version__}",
        model=model,
        input=InputContract(config.in_channels, config.out_channels, multiple_of=config.multiple_of),
        references=(Reference(job.height, job.width, make_file_entry(job.folder, job.graph)),),
        variants=tuple(each.variant for each in checked),
    )


def _choose_part(requests: Sequence[TargetRequest], options: ExportOptions) -> str:
    """Every second frame, where the others are to be calibrated on; see `read_inputs`."""
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
    job.progress(f"{name} {precision}: comparing {len(job.parity_case.expected)} frames with PyTorch's")
    return target.verify(variant, job)
