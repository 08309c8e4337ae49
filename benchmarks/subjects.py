"""The models that are measured: their checkpoints, their bundles, and real frames for their quality."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2

import i2i_export
from benchmarks.places import shared_file, subject_of, trained
from benchmarks.report import OUT
from i2i_export.options import ExportOptions
from i2i_export.pipeline import export_bundle
from i2i_export.wanted import parse_targets
from i2i_sdk import __version__
from i2i_sdk.bundle import Bundle
from i2i_sdk.files import file_sha256
from i2i_sdk.zoo import zoo_path

TARGETS = "ort,openvino,ncnn:fp32"
MOST_FRAMES = 24  # half of them calibrate INT8, half are compared

Size = tuple[int, int]


@dataclass(frozen=True)
class Subject:
    """A model at some sizes."""

    name: str
    checkpoint: Path
    sizes: tuple[Size, ...]
    zoo: bool = False  # its bundle is shipped; others are exported
    pairs: str | None = None  # of the shared data: images whose left half is what the model translates
    photos: str | None = "photos"  # of the shared data, where there are no pairs


# The full-size networks at the size they were trained for, and every model of the zoo.
SHORT = (
    Subject("maps_resnet9", trained("maps_resnet9"), ((256, 256),), pairs="maps_ab512/val"),
    Subject("maps_unet256", trained("maps_unet256"), ((256, 256),), pairs="maps_ab512/val"),
    Subject("sketch", trained("sketch"), ((128, 128), (256, 256), (512, 512)), zoo=True),
)


def subject_from(checkpoint: Path, sizes: tuple[Size, ...]) -> Subject:
    """A user's own."""
    return Subject(subject_of(checkpoint), checkpoint, sizes)


def frames_of(subject: Subject) -> Path | None:
    """A folder of real frames, from the shared data; None where it is not there."""
    if subject.pairs is not None:
        pairs = shared_file(subject.pairs)
        return left_halves(pairs, OUT / "frames" / subject.name) if pairs else None
    return shared_file(subject.photos) if subject.photos else None


def left_halves(pairs: Path, out: Path) -> Path:
    """The first images of a folder cut in the middle, as PNG."""
    out.mkdir(parents=True, exist_ok=True)
    for file in sorted(pairs.glob("*.jpg"))[:MOST_FRAMES]:
        image = cv2.imread(str(file))
        assert image is not None, f"{file} is not readable"
        cv2.imwrite(str(out / f"{file.stem}.png"), image[:, : image.shape[1] // 2])
    return out


def bundle_of(subject: Subject, frames: Path | None) -> Bundle:
    """The zoo's bundle, or one that is exported to out/bench/bundles and kept there.

    A kept one is taken while the checkpoint, the exporter and the frames are the same.
    """
    path = zoo_path(subject.name) if subject.zoo else None
    if path is not None:
        return Bundle.read(path)
    out = OUT / "bundles" / f"{subject.name}-{_state(subject, frames)}.i2i"
    for size in subject.sizes:
        bundle = Bundle.read(out) if out.is_dir() else None
        if bundle and any((r.height, r.width) == size for r in bundle.manifest.references):
            continue
        print(f"exporting {subject.name} at {size[0]}x{size[1]}: {TARGETS}", flush=True)
        options = ExportOptions(size=size, frames=frames, name=subject.name)
        export_bundle(subject.checkpoint, parse_targets(TARGETS, options), out, options)
    return Bundle.read(out)


def _state(subject: Subject, frames: Path | None) -> str:
    """Of everything that a bundle depends on."""
    digest = hashlib.sha256(f"{__version__} {file_sha256(subject.checkpoint)} {TARGETS}".encode())
    for file in (*_files(Path(i2i_export.__path__[0]), "*.py"), *_files(frames, "*.*")):
        digest.update(f"{file.name} {file.stat().st_size}".encode())
        if file.suffix == ".py":
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _files(folder: Path | None, pattern: str) -> Iterable[Path]:
    return sorted(folder.rglob(pattern)) if folder else ()
