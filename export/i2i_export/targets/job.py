"""What every target is given, and what it offers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from i2i_sdk.manifest import FileEntry, Requirements, Variant


@dataclass(frozen=True)
class Job:
    """One network at one size, on its way into a bundle."""

    graph: Path  # the canonical ONNX, inside `folder`
    graph_entry: FileEntry
    folder: Path  # the bundle that is being built; targets write here
    height: int
    width: int
    max_batch: int
    macs: int

    def variant(
        self, backend: str, precision: str, files: tuple[FileEntry, ...], needs: Requirements
    ) -> Variant:
        """What a target returns: not measured yet, so `verified` is "structure" and there is no parity."""
        return Variant(
            name=f"{backend}-{precision}-{self.height}x{self.width}",
            backend=backend,
            precision=precision,
            precision_found=precision,
            height=self.height,
            width=self.width,
            max_batch=self.max_batch,
            macs=self.macs,
            files=files,
            requires=needs,
            verified="structure",
        )


@dataclass(frozen=True)
class Target:
    """A target file's three public names."""

    precisions: tuple[str, ...]
    default_precisions: Callable[[], tuple[str, ...]]
    export: Callable[[Job, str], Variant]
