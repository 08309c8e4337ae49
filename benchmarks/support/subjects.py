"""The models that are measured: their checkpoints, their bundles, and real frames for their quality."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2

import i2i_export
from benchmarks.reporting.publish import OUT
from benchmarks.support.places import find_shared_file, get_trained_checkpoint, name_subject
from i2i_export.options import ExportOptions
from i2i_export.pipeline import export
from i2i_export.targets import parse_targets
from i2i_sdk import __version__
from i2i_sdk.bundle.folder import Bundle
from i2i_sdk.files import hash_file
from i2i_sdk.zoo import find_zoo_bundle

TARGETS = "ort,openvino,ncnn:fp32"
MAX_FRAMES = 24  # half of them calibrate INT8, half are compared

Size = tuple[int, int]


@dataclass(frozen=True)
class Subject:
    """A model at some sizes."""

    name: str
    checkpoint: Path
    sizes: tuple[Size, ...]
    is_zoo: bool = False  # its bundle is shipped; others are exported
    pairs: str | None = None  # of the shared data: images whose left half is what the model translates
    photos: str | None = "photos"  # of the shared data, where there are no pairs


# The full-size networks at the size they were trained for, and every model of the zoo.
SHORT = (
    Subject("maps_resnet9", get_trained_checkpoint("maps_resnet9"), ((256, 256),), pairs="maps_ab512/val"),
    Subject("maps_unet256", get_trained_checkpoint("maps_unet256"), ((256, 256),), pairs="maps_ab512/val"),
    Subject("sketch", get_trained_checkpoint("sketch"), ((128, 128), (256, 256), (512, 512)), is_zoo=True),
)


def make_subject(checkpoint: Path, sizes: tuple[Size, ...]) -> Subject:
    """A user's own."""
    return Subject(name_subject(checkpoint), checkpoint, sizes)


def find_frames(subject: Subject) -> Path | None:
    """A folder of real frames, from the shared data; None where it is not there."""
    if subject.pairs is not None:
        pairs = find_shared_file(subject.pairs)
        return write_left_halves(pairs, OUT / "frames" / subject.name) if pairs else None
    return find_shared_file(subject.photos) if subject.photos else None


def write_left_halves(pairs: Path, out: Path) -> Path:
    """The first images of a folder cut in the middle, as PNG."""
    out.mkdir(parents=True, exist_ok=True)
    for file in sorted(pairs.glob("*.jpg"))[:MAX_FRAMES]:
        image = cv2.imread(str(file))
        assert image is not None, f"{file} is not readable"
        cv2.imwrite(str(out / f"{file.stem}.png"), image[:, : image.shape[1] // 2])
    return out


def get_bundle(subject: Subject, frames: Path | None) -> Bundle:
    """The zoo's bundle, or one that is exported to out/bench/bundles and kept there.

    A kept one is taken while the checkpoint, the exporter and the frames are the same.
    """
    path = find_zoo_bundle(subject.name) if subject.is_zoo else None
    if path is not None:
        return Bundle.read(path)
    out = OUT / "bundles" / f"{subject.name}-{_compute_fingerprint(subject, frames)}.i2i"
    for size in subject.sizes:
        bundle = Bundle.read(out) if out.is_dir() else None
        if bundle and any((r.height, r.width) == size for r in bundle.manifest.references):
            continue
        print(f"exporting {subject.name} at {size[0]}x{size[1]}: {TARGETS}", flush=True)
        options = ExportOptions(size=size, frames=frames, name=subject.name)
        export(subject.checkpoint, parse_targets(TARGETS, options), out, options)
    return Bundle.read(out)


def _compute_fingerprint(subject: Subject, frames: Path | None) -> str:
    """Of everything that a bundle depends on: the checkpoint, the exporter, and names and sizes of frames."""
    digest = hashlib.sha256(f"{__version__} {hash_file(subject.checkpoint)} {TARGETS}".encode())
    for source in sorted(Path(i2i_export.__path__[0]).rglob("*.py")):
        digest.update(source.read_bytes())
    for frame in sorted(frames.rglob("*.*")) if frames else ():
        digest.update(f"{frame.name} {frame.stat().st_size}".encode())
    return digest.hexdigest()[:12]
