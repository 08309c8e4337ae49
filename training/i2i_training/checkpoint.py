"""Read and write generators: our own `.safetensors`, and the upstream repository's `.pth`.

Files come from strangers. `.safetensors` holds no code; a `.pth` is read by PyTorch's restricted
unpickler (`weights_only=True`), which refuses everything but tensors. Nothing else is ever unpickled.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor, nn

from i2i_sdk.errors import CheckpointError
from i2i_sdk.files import hash_file, write_atomically
from i2i_training.dialects import upstream
from i2i_training.dialects.packed import pack, unpack
from i2i_training.dialects.pth_file import read_state_dict
from i2i_training.networks import GeneratorConfig, GeneratorSpec, build_generator

log = logging.getLogger(__name__)

LATEST = "latest_net_G"  # stem of the newest generator in a run's folder: upstream's, so that people find it
HEADER = "i2i"  # the metadata key of a .safetensors file that holds the spec as JSON
MAX_BYTES = 4 * 10**9  # a generator is megabytes; more is something else


def load_generator(
    path: str | os.PathLike[str],
    *,
    norm_mode: str | None = None,
    padding: str | None = None,
    upsample: str | None = None,
) -> tuple[nn.Module, GeneratorSpec]:
    """Read a generator and everything known about it.

    Args:
        path: `.safetensors` written by `save_generator`, or an upstream `.pth` (bare state dict, zip or
            legacy format), whose architecture is inferred.
        norm_mode: for BatchNorm networks, how they run at test time: "batch_stats" (upstream's default)
            or "running_stats" (upstream's `--eval`).
        padding: replaces what the keys of a `.pth` cannot tell; a `.safetensors` tells.
        upsample: as `padding`.

    Returns:
        The module on the CPU, float32, in the mode it is meant to be run in (see `set_test_mode`):
        float32 [N, C, H, W] in -1..1 to the same; and its spec with all repairs and assumptions.

    Raises:
        CheckpointError: a missing, truncated, hostile or foreign file. Nothing of it was executed.

    Example:
        >>> module, spec = load_generator("latest_net_G.pth")          # doctest: +SKIP
        >>> spec.config.architecture                                   # doctest: +SKIP
        'resnet'
    """
    path = Path(path)
    _check_file(path)
    if path.suffix == ".safetensors":
        if padding or upsample:
            raise CheckpointError(
                f"{path}: padding and upsample cannot be replaced; the file's header says how it was trained"
            )
        state, spec = _read_safetensors(path)
    else:
        state, spec = _read_upstream(path, padding, upsample, norm_mode)
    if norm_mode is not None:
        try:
            spec = replace(spec, norm_mode=norm_mode)
        except ValueError as error:
            raise CheckpointError(f"{path}: {error}") from error
    spec = replace(spec, source_sha256=hash_file(path))
    for line in spec.repairs:
        log.warning("%s: repaired: %s", path.name, line)
    for line in spec.assumptions:
        log.warning("%s: assumed: %s", path.name, line)
    module = build_generator(spec.config)
    module.load_state_dict(state, strict=True)
    return set_test_mode(module, spec.norm_mode), spec


def save_generator(
    path: str | os.PathLike[str],
    module: nn.Module,
    spec: GeneratorSpec,
    coarseness: Mapping[str, float] | None = None,
) -> Path:
    """Write weights and spec as one `.safetensors` file, atomically.

    Args:
        path: of the file; its suffix is `.safetensors`.
        module: the generator, float32.
        spec: what it is.
        coarseness: tensors to round and compress, and how much; see dialects/packed.py.

    Returns:
        The path.

    Raises:
        CheckpointError: when the module's layers are not those of `spec.config`, so that every file that
            exists can be loaded, and for a text that no header may have.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path}: generators are written as .safetensors, not '{path.suffix}'")
    state = {k: v.detach().to("cpu").contiguous() for k, v in module.state_dict().items()}
    if wrong := _describe_differences(state, spec.config):
        raise CheckpointError(
            f"{path}: the module is not the {spec.config.architecture} that its spec describes: {wrong}"
        )
    state = pack(state, coarseness or {})
    header = spec.to_json()
    try:
        GeneratorSpec.from_json(header)
    except ValueError as error:  # such as odd characters in a text
        raise CheckpointError(f"{path}: its header could not be read again: {error}") from error
    with write_atomically(path) as temporary:
        temporary.write_bytes(safetensors.torch.save(state, {HEADER: json.dumps(header)}))
    return path


def set_test_mode(module: nn.Module, norm_mode: str) -> nn.Module:
    """Put `module` into the mode its pictures are made in, in place, and return it.

    Dropout is off. With "batch_stats" BatchNorm normalizes by the statistics of its input, as upstream's
    test script does without `--eval`; its running statistics stay untouched.
    """
    module.eval()
    if norm_mode == "batch_stats":
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.train()
                layer.track_running_stats = False
    return module


def _check_file(path: Path) -> None:
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise CheckpointError(f"{path}: {found}; give a .safetensors or .pth generator")
    size = path.stat().st_size
    if size == 0:
        raise CheckpointError(f"{path}: the file is empty; give a .safetensors or .pth generator")
    if size > MAX_BYTES:
        raise CheckpointError(
            f"{path}: {size / 1e9:.1f} GB is no generator; at most {MAX_BYTES / 1e9:.0f} GB"
        )


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], GeneratorSpec]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: truncated, damaged or no .safetensors file: {error}. Supported: {upstream.SUPPORTED}"
        ) from error
    if HEADER not in metadata:
        raise CheckpointError(
            f"{path}: a .safetensors file without i2i-sdk's header, so its architecture is not known; "
            f"supported: {upstream.SUPPORTED}"
        )
    try:
        spec = GeneratorSpec.from_json(json.loads(metadata[HEADER]))
    except (ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}: its header is not valid: {error}") from error
    state = unpack(state, {k: v.shape for k, v in upstream.build_meta_state(spec.config).items()})
    if wrong := _describe_differences(state, spec.config):
        raise CheckpointError(
            f"{path}: its tensors are not those of the {spec.config.architecture} in its header: {wrong}"
        )
    return state, spec


def _describe_differences(state: Mapping[str, Tensor], config: GeneratorConfig) -> str:
    """The first tensors whose shape or type is not what `config` makes; empty when all are."""
    found, expected = (
        {k: f"{str(v.dtype).removeprefix('torch.')} {list(v.shape)}" for k, v in tensors.items()}
        for tensors in (state, upstream.build_meta_state(config))
    )
    return upstream.describe_differences(found, expected)


def _read_upstream(
    path: Path, padding: str | None, upsample: str | None, norm_mode: str | None
) -> tuple[dict[str, Tensor], GeneratorSpec]:
    state, repairs = upstream.repair_state_dict(read_state_dict(path))
    try:
        config, assumed = upstream.infer_config({k: tuple(v.shape) for k, v in state.items()})
        config = upstream.override_config(config, padding, upsample)
    except upstream.UnknownArchitectureError as error:
        raise CheckpointError(
            f"{path}: not a supported generator: {error}. Supported: {upstream.SUPPORTED}"
        ) from error
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    if config.norm == "batch":
        assumed["norm_mode"] = (
            "BatchNorm uses the statistics of each image, as upstream's test script does; "
            "if you test with --eval, give --norm-mode running_stats"
        )
    overrides = {"padding": padding, "upsample": upsample, "norm_mode": norm_mode}
    assumptions = tuple(line for option, line in assumed.items() if overrides.get(option) is None)
    mode = "batch_stats" if config.norm == "batch" else "none"
    return state, GeneratorSpec(config, norm_mode=mode, repairs=repairs, assumptions=assumptions)
