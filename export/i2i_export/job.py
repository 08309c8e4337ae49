"""What every target is given, and what it offers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import nn

from i2i_export.options import ExportOptions
from i2i_export.parity import require_floor
from i2i_sdk.backends import open_variant
from i2i_sdk.bundle import file_entry
from i2i_sdk.manifest import FileEntry, Requirements, Variant
from i2i_sdk.measure import Timing, interleaved, statistics
from i2i_sdk.parity import Trial, measure_parity
from i2i_training.networks import GeneratorSpec


@dataclass(frozen=True)
class Job:
    """One network at one size, on its way into a bundle."""

    module: nn.Module  # the deployed form that the canonical ONNX was made of: uint8 (a sampler: noise) in
    spec: GeneratorSpec
    graph: Path  # the canonical ONNX, inside `folder`
    folder: Path  # the bundle that is being built; targets write here what belongs to it
    scratch: Path  # thrown away at the end: what targets make on the way, and share
    height: int
    width: int
    max_batch: int
    macs: int
    trial: Trial  # what every variant has to make of what
    options: ExportOptions
    progress: Callable[[str], None]  # told in a few words what is being done now
    shared: dict[str, object] = field(default_factory=dict[str, object])  # what several targets need

    @property
    def size(self) -> str:
        """As it stands in names: "256x256"."""
        return f"{self.height}x{self.width}"

    def entry(self, path: Path) -> FileEntry:
        """The manifest's entry of a file inside `folder`."""
        return file_entry(self.folder, path)

    def variant(
        self, backend: str, precision: str, files: tuple[FileEntry, ...], needs: Requirements
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
            requires=needs,
            verified="structure",
        )


@dataclass(frozen=True)
class Checked:
    """A variant with its parity, and how long one frame took where its own engine ran here."""

    variant: Variant
    timing: Timing | None


def run_here(variant: Variant, job: Job) -> Checked:
    """Run the variant as a user would: its parity, its effective precision, its time.

    Raises BackendError when it cannot run here, ParityError below its floor.
    """
    files = tuple(job.folder / f.path for f in variant.files)
    with open_variant(variant, files) as engine:
        parity = measure_parity(engine, job.trial)
        require_floor(variant.name, variant.precision, parity, job.options.min_psnr)
        first = job.trial.inputs.arrays[0][None]
        times = interleaved({"run": lambda: engine.run(first)}, rounds=5, warmup=0)["run"]  # it is warm
        found = replace(variant, parity=parity, precision_found=engine.precision, verified="device")
        return Checked(found, statistics(times))


@dataclass(frozen=True)
class Target:
    """A target file's public names."""

    precisions: tuple[str, ...]
    default_precisions: Callable[[ExportOptions], tuple[str, ...]]  # for a `--to NAME` without one
    export: Callable[[Job, str], Variant]
    verify: Callable[[Variant, Job], Checked] = run_here
