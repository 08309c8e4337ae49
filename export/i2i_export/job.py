"""What every target works on: one network at one size, on its way into a bundle."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from i2i_export.canonical import Uint8Translator
from i2i_export.int8.builder import Int8Builder
from i2i_export.options import ExportOptions
from i2i_sdk.bundle.folder import make_file_entry
from i2i_sdk.bundle.manifest import FileEntry, Requirements, Variant
from i2i_sdk.quality.parity import ParityCase
from i2i_training.networks import GeneratorSpec


@dataclass(frozen=True)
class Job:
    """One network at one size, on its way into a bundle."""

    module: Uint8Translator  # the deployed form that the canonical ONNX was made of: uint8 in
    spec: GeneratorSpec
    graph: Path  # the canonical ONNX, inside `folder`
    folder: Path  # the bundle that is being built; targets write here what belongs to it
    scratch: Path  # thrown away at the end: what targets make on the way, and share
    height: int
    width: int
    max_batch: int
    macs: int
    parity_case: ParityCase  # what every variant has to make of what
    options: ExportOptions
    progress: Callable[[str], None]  # told in a few words what is being done now

    @cached_property
    def int8(self) -> Int8Builder:
        """Makes the INT8 graphs, which several targets share."""
        return Int8Builder(
            self.module,
            self.spec,
            self.height,
            self.width,
            self.scratch,
            self.parity_case,
            self.options,
            self.progress,
        )

    @property
    def size(self) -> str:
        """As it stands in names: "256x256"."""
        return f"{self.height}x{self.width}"

    def make_file_entry(self, path: Path) -> FileEntry:
        """The manifest's entry of a file inside `folder`."""
        return make_file_entry(self.folder, path)

    def make_variant(
        self, backend: str, precision: str, files: tuple[FileEntry, ...], requirements: Requirements
    ) -> Variant:
        """What a target returns: not measured yet, so `verified` is "structure" and there is no parity."""
        return Variant(
            name=f"{backend}-{precision}-{self.size}",
            backend=backend,
            precision=precision,
            precision_found=precision,
            height=self.height,
            width=self.width,
            max_batch=self.max_batch,
            macs=self.macs,
            files=files,
            requires=requirements,
            verified="structure",
        )

    def make_int8_variant(self, backend: str, requirements: Requirements) -> Variant:
        """The INT8 variant of an engine that reads ONNX; its style has the backend's name."""
        found = self.int8.write_graph(backend)
        path = self.folder / f"{backend}-int8-{self.size}.onnx"
        shutil.copyfile(found.path, path)
        variant = self.make_variant(backend, "int8", (self.make_file_entry(path),), requirements)
        return found.describe_variant(variant)
