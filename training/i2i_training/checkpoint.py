"""Read and write generators: our own `.safetensors`, and the upstream repository's `.pth`.

Files come from strangers. `.safetensors` holds no code; a `.pth` is read by PyTorch's restricted
unpickler (`weights_only=True`), which refuses everything but tensors. Nothing else is ever unpickled.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from i2i_sdk.errors import CheckpointError
from i2i_sdk.files import file_sha256, written_atomically
from i2i_training.infer import SUPPORTED, UnknownArchitectureError, infer_config, override, repair
from i2i_training.networks import GeneratorSpec, build_generator

log = logging.getLogger(__name__)

HEADER = "i2i"  # the metadata key of a .safetensors file that holds the spec as JSON
LARGEST_BYTES = 4 * 10**9  # a generator is megabytes; more is something else


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
        padding, upsample: replace what the keys of a `.pth` cannot tell.

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
        state, spec = _read_safetensors(path)
    else:
        state, spec = _read_upstream(path, padding, upsample)
    if norm_mode is not None:
        spec = _with_norm_mode(spec, norm_mode, path)
    spec = replace(spec, source_sha256=file_sha256(path))
    for line in spec.repairs:
        log.warning("%s: repaired: %s", path.name, line)
    for line in spec.assumptions:
        log.warning("%s: assumed: %s", path.name, line)
    module = build_generator(spec.config)
    module.load_state_dict(state, strict=True)
    return set_test_mode(module, spec.norm_mode), spec


def save_generator(path: str | os.PathLike[str], module: nn.Module, spec: GeneratorSpec) -> Path:
    """Write weights and spec as one `.safetensors` file, atomically. Returns its path.

    Raises CheckpointError when the module's layers are not those of `spec.config`, so that every file
    that exists can be loaded.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path}: generators are written as .safetensors, not '{path.suffix}'")
    state = {k: v.detach().to("cpu").contiguous() for k, v in module.state_dict().items()}
    with torch.device("meta"):
        expected = {k: v.shape for k, v in build_generator(spec.config).state_dict().items()}
    if expected != {k: v.shape for k, v in state.items()}:
        raise CheckpointError(
            f"{path}: the module is not the {spec.config.architecture} that its spec describes"
        )
    with written_atomically(path) as temporary:
        safetensors.torch.save_file(state, temporary, metadata={HEADER: json.dumps(spec.to_json())})
    return path


def set_test_mode(module: nn.Module, norm_mode: str) -> nn.Module:
    """Put `module` into the mode its pictures are made in, in place, and return it.

    Dropout is off. With "batch_stats" BatchNorm normalises by the statistics of its input, as upstream's
    test script does without `--eval`; its running statistics stay untouched.
    """
    module.eval()
    if norm_mode == "batch_stats":
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.train()
                layer.momentum = 0.0
    return module


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; give a .safetensors or .pth generator")
    size = path.stat().st_size
    if size == 0:
        raise CheckpointError(f"{path}: the file is empty")
    if size > LARGEST_BYTES:
        raise CheckpointError(
            f"{path}: {size / 1e9:.1f} GB is no generator; at most {LARGEST_BYTES / 1e9:.0f} GB"
        )


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], GeneratorSpec]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable .safetensors file ({error})") from error
    if HEADER not in metadata:
        raise CheckpointError(
            f"{path}: a .safetensors file without i2i-sdk's header, so its architecture is not known; "
            f"supported: {SUPPORTED}"
        )
    try:
        spec = GeneratorSpec.from_json(json.loads(metadata[HEADER]))
        with torch.device("meta"):
            expected = {k: v.shape for k, v in build_generator(spec.config).state_dict().items()}
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: its header is not valid: {error}") from error
    if expected != {k: v.shape for k, v in state.items()}:
        raise CheckpointError(
            f"{path}: its tensors are not those of the {spec.config.architecture} in its header"
        )
    return state, spec


def _read_upstream(
    path: Path, padding: str | None, upsample: str | None
) -> tuple[dict[str, Tensor], GeneratorSpec]:
    state, repairs = repair(_unpickle_tensors(path))
    try:
        inferred = infer_config({k: tuple(v.shape) for k, v in state.items()})
    except UnknownArchitectureError as error:
        raise CheckpointError(
            f"{path}: not a supported generator: {error}. Supported: {SUPPORTED}"
        ) from error
    try:
        config = override(inferred.config, padding, upsample)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    known = {name for name, value in (("padding", padding), ("upsampling", upsample)) if value is not None}
    assumptions = tuple(line for line in inferred.assumptions if line.split()[0].rstrip(":") not in known)
    norm_mode = "none"
    if config.norm == "batch":
        norm_mode = "batch_stats"
        assumptions += (
            "BatchNorm uses batch statistics, as upstream's test script (--norm-mode running_stats)",
        )
    return state, GeneratorSpec(config, norm_mode=norm_mode, repairs=repairs, assumptions=assumptions)


def _unpickle_tensors(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a `.pth`, read by the restricted unpickler."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = str(error).split("WeightsUnpickler error:")[-1].strip().splitlines()[0]
        raise CheckpointError(
            f"{path}: refused: it holds more than tensors ({found}). Nothing of it was executed. "
            f"Supported is a bare state dict: torch.save(net.state_dict(), path)"
        ) from error
    except (
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        KeyError,
        AttributeError,
        IndexError,
        TypeError,
    ) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{path}: truncated or not a PyTorch file: {reason}. Copy it again and compare its size"
        ) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{path}: holds a {type(content).__name__}; supported is a bare state dict of tensors"
        )
    others = [str(k) for k, v in content.items() if not isinstance(v, Tensor)]
    if others or not content:
        keys = ", ".join(map(str, list(content)[:6])) or "nothing"
        raise CheckpointError(
            f"{path}: not a bare state dict; it holds {keys}. Save the generator alone: "
            f"torch.save(net.state_dict(), path)"
        )
    return content


def _with_norm_mode(spec: GeneratorSpec, norm_mode: str, path: Path) -> GeneratorSpec:
    try:
        assumptions = tuple(line for line in spec.assumptions if not line.startswith("BatchNorm"))
        return replace(spec, norm_mode=norm_mode, assumptions=assumptions)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
