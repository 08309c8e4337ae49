"""The tensors of a `.pth` file, which may come from a stranger.

PyTorch's restricted unpickler (`weights_only=True`) refuses everything but tensors and plain containers.
What it returns is checked again: plain numbers, named, and not more of them than the file has bytes.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from i2i_sdk.errors import CheckpointError
from i2i_training.dialects.upstream import SUPPORTED

ADVICE = "Supported is a bare state dict: torch.save(net.state_dict(), path)"
MAGIC_PREFIXES = (b"PK\x03\x04", b"\x80\x02")  # zip, and the pickle of files from before PyTorch 1.6


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors by name, on the CPU, of a bare state dict in zip or legacy format.

    Raises CheckpointError that says what the file is instead. Nothing of it is executed.
    """
    with path.open("rb") as file:
        start = file.read(8)
    if not start.startswith(MAGIC_PREFIXES):
        found = "it is some other Python pickle" if start[:1] == b"\x80" else f"it begins with {start!r}"
        raise CheckpointError(f"{path}: not a PyTorch file: {found}. Supported: {SUPPORTED}")
    try:
        with warnings.catch_warnings():  # PyTorch warns of what is refused below anyway
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        raise CheckpointError(f"{path}: {_explain_error(error)}") from error
    _check_content(path, content)
    return dict(content)


def _explain_error(error: Exception) -> str:
    """What stands in the way; without PyTorch's advice to unpickle anything, and in one line."""
    text = str(error)
    if found := re.search(r"GLOBAL (\S+)", text):
        return f"refused: it holds more than tensors ({found[1]}). Nothing of it was executed. {ADVICE}"
    if "TorchScript" in text:
        return f"refused: it is a TorchScript archive, which holds code. Nothing of it was executed. {ADVICE}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("Check the documentation")]
    reason = (lines or [type(error).__name__])[0 if isinstance(error, RuntimeError) else -1]
    return (
        f"truncated, damaged or not written by torch.save: {reason.rstrip('.')}. "
        f"Copy it again and compare its size. {ADVICE}"
    )


def _check_content(path: Path, content: object) -> None:
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: it holds a {type(content).__name__}, not named tensors. {ADVICE}")
    if not content or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items()):
        keys = ", ".join(map(str, list(content)[:6])) or "nothing"
        raise CheckpointError(f"{path}: not a bare state dict; it holds {keys}. {ADVICE}")
    for key, value in content.items():
        if not _is_plain(key, value):
            raise CheckpointError(
                f"{path}: {key} is a {value.dtype} tensor ({value.layout}, {value.device}); "
                f"supported are dense floating-point weights"
            )
    claimed, size = sum(v.numel() * v.element_size() for v in content.values()), path.stat().st_size
    if claimed > size:  # tensors that repeat one number fill the memory when they are copied
        raise CheckpointError(f"{path}: its tensors claim {claimed:,} bytes; the file has {size:,}. {ADVICE}")


def _is_plain(key: str, value: Tensor) -> bool:
    kind_fits = value.is_floating_point() or key.endswith("num_batches_tracked")
    return (
        kind_fits and not value.is_complex() and value.layout == torch.strided and value.device.type == "cpu"
    )
