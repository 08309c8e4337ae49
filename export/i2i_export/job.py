"""What every target works on: one network at one size, on its way into a bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from i2i_export.canonical import Uint8Translator
from i2i_export.options import ExportOptions
from i2i_sdk.bundle.folder import make_file_entry
from i2i_sdk.bundle.manifest import MAX_BATCH, Requirements, Variant
from i2i_sdk.errors import ExportError
from i2i_sdk.quality.parity import ParityCase
from i2i_training.networks import GeneratorSpec

# Of a variant whose weights alone are FP16.
STORED_IN_HALF: dict[str, Any] = {"macs_in_precision": 0.0, "precision_kept": {"arithmetic": "fp32"}}


@dataclass(frozen=True, eq=False)  # equal to itself alone, so that work for it can be cached
class Job:
    """One network at one size, on its way into a bundle."""

    module: Uint8Translator  # the deployed form that the canonical ONNX was made of: uint8 in
    spec: GeneratorSpec
    graph: Path  # the canonical ONNX, inside `folder`
    folder: Path  # the bundle that is being built; targets write here what belongs to it
    scratch: Path  # thrown away at the end: what targets make on the way, and share
    height: int
    width: int
    macs: int
    parity_case: ParityCase  # what every variant has to make of what
    options: ExportOptions
    progress: Callable[[str], None]  # told in a few words what is being done now, see `export`

    @property
    def size(self) -> str:
        """As it stands in names: "256x256"."""
        return f"{self.height}x{self.width}"

    def format_name(self, backend: str, precision: str) -> str:
        """A variant's name, with which its files begin, too."""
        return f"{backend}-{precision}-{self.size}"

    def make_variant(
        self, backend: str, precision: str, files: Iterable[Path], requires: Requirements, **facts: Any
    ) -> Variant:
        """What a target returns: not measured yet, so `verified` is "structure" and there is no parity.

        Args:
            backend: that runs it, as in `i2i_sdk.backends`.
            precision: one of the target's.
            files: what the backend opens, inside `folder`.
            requires: what a device needs for it.
            facts: fields of Variant that differ from most variants'.

        Returns:
            The variant, named after backend, precision and size.
        """
        fields: dict[str, Any] = {
            "name": self.format_name(backend, precision),
            "backend": backend,
            "precision": precision,
            "precision_found": precision,
            "height": self.height,
            "width": self.width,
            "max_batch": MAX_BATCH,
            "macs": self.macs,
            "files": tuple(make_file_entry(self.folder, path) for path in files),
            "requires": requires,
            "verified": "structure",
        }
        return Variant(**fields | facts)

    def check_image_channels(self, target: str) -> None:
        """Raise ExportError where the network does not make images of images: of 1 or 3 channels."""
        inputs, outputs = self.spec.config.in_channels, self.spec.config.out_channels
        if not {inputs, outputs} <= {1, 3}:
            raise ExportError(
                f"{target}: its images have 1 or 3 channels, this network maps {inputs} to {outputs}; "
                f"leave the target out"
            )
