"""Read every file once: find those that cannot be used, keep what fits into memory."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from i2i_sdk.errors import TrainingError
from i2i_training.data.data_options import DataOptions
from i2i_training.data.image_tensors import Image, convert_channels, decode, resize_image
from i2i_training.data.layout import ImageFile, Split, check_side_by_side

THREADS = min(8, os.cpu_count() or 1)  # OpenCV decodes without holding Python's lock
MAX_PENDING_FILES = 4 * THREADS  # files whose decoded images wait in memory at the same time

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScanResult:
    """What a data set's files hold."""

    images: dict[ImageFile, Image]  # resized, as many as fit into the limit
    sizes: dict[ImageFile, tuple[int, int]]  # height and width in the file
    problems: dict[Path, str]
    unreadable: set[Path]  # those of the problems that are no images at all
    shapes: dict[Path, tuple[int, int]]  # height and width of whole files


def scan_files(
    sources: Sequence[ImageFile], options: DataOptions, min_size: int, max_bytes: float, multiple_of: int = 1
) -> ScanResult:
    """Decode the files of all sources, each once, in threads.

    Args:
        sources: images of one data set; two halves of a file are of one size.
        options: how many channels each domain has, and the size that images are brought to.
        min_size: pixels that the shorter side of an image must have, where it is not stretched.
        max_bytes: of the images to keep, as many as fit.
        multiple_of: as in `resize_part`.

    Returns:
        The images, their sizes in the file, and why files cannot be used.
    """
    by_path: dict[Path, list[ImageFile]] = {}
    for source in sources:
        by_path.setdefault(source.path, []).append(source)
    result = ScanResult({}, {}, {}, set(), {})

    def scan_file(path: Path) -> dict[ImageFile, tuple[Image, tuple[int, int]]] | str:
        try:
            decoded = decode(path)
        except ValueError as error:
            result.unreadable.add(path)
            return str(error)
        result.shapes[path] = decoded.shape[:2]
        try:
            parts = {s: extract_part(decoded, s, options) for s in by_path[path]}
            height, width = next(iter(parts.values())).shape[:2]
            if options.load_size is None and min(height, width) < min_size:
                return f"is {width}x{height} pixels; at least {min_size}x{min_size} are needed"
            resized = {s: resize_part(part, s, options, multiple_of) for s, part in parts.items()}
            return {s: (image, (height, width)) for s, image in resized.items()}
        except ValueError as error:
            return str(error)

    paths, kept = list(by_path), 0
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(paths), MAX_PENDING_FILES):
            some = paths[start : start + MAX_PENDING_FILES]
            for path, parts in zip(some, pool.map(scan_file, some), strict=True):
                if isinstance(parts, str):
                    result.problems[path] = parts
                    continue
                for source, (image, size) in parts.items():
                    result.sizes[source] = size
                    kept += image.nbytes
                    if kept <= max_bytes:
                        result.images[source] = image
    return result


def extract_part(decoded: Image, source: ImageFile, options: DataOptions) -> Image:
    """The source's part of a decoded file.

    Args:
        decoded: uint8 [H, W, C].
        source: the whole or a half of it.
        options: how many channels each domain has.

    Returns:
        uint8 [H, W, C] of its domain's channels.

    Raises:
        ValueError: with the reason where that cannot be.
    """
    if source.is_half:
        width = decoded.shape[1]
        if width % 2:
            raise ValueError(f"is {width} pixels wide, so it has no two halves")
        left = source.domain == "A"
        decoded = decoded[:, : width // 2] if left else decoded[:, width // 2 :]
    try:
        image = convert_channels(decoded, options.get_channels(source.domain))
    except ValueError as error:
        raise ValueError(f"{error}, which --channels-{source.domain.lower()} asks for") from error
    return np.ascontiguousarray(image)  # not a view, which would keep the other half alive


def resize_part(image: Image, source: ImageFile, options: DataOptions, multiple_of: int = 1) -> Image:
    """Bring an image to sides that are multiples of a number.

    Args:
        image: uint8 [H, W, C].
        source: what it is; label maps get no new colors.
        options: images are stretched to a square of `load_size`, or the next lower multiple; where that is
            none, they lose rows at the bottom and columns at the right.
        multiple_of: the number.

    Returns:
        uint8 [H, W, C].
    """
    if options.load_size is None:
        height, width = (side - side % multiple_of for side in image.shape[:2])
        return image[:height, :width]
    side = options.load_size - options.load_size % multiple_of
    return resize_image(image, side, side, options.are_labels(source.domain))


def read_split(
    split: Split,
    options: DataOptions,
    min_size: int,
    max_bytes: float,
    multiple_of: int = 1,
    should_log: bool = True,
) -> tuple[Split, dict[ImageFile, Image]]:
    """The images of a split that can be used: both of a pair or none.

    Args:
        split: the files.
        options: of the data set.
        min_size: as in `scan_files`.
        max_bytes: as in `scan_files`.
        multiple_of: as in `resize_part`.
        should_log: whether to log what is gone on without, as one of several processes does.

    Returns:
        The good part of the split, and as many of its images as fit into `max_bytes`: uint8 [H, W, C].

    Raises:
        TrainingError: listing every file that cannot be used, unless `skip_bad` or these are just files that
            cannot be read; where none is left.
    """
    sources = [*split.inputs, *split.targets]
    found = scan_files(sources, options, min_size, max_bytes, multiple_of)
    _check_halves(sources, found, options)
    good, problems = _select_usable(split, found)
    total = len({s.path for s in sources}) + len(split.problems)
    if problems:
        listed = "\n  ".join(problems)
        what = f"{options.data}: {len(problems)} of {total} files cannot be used:\n  {listed}"
        if not options.skip_bad and len(problems) > len(found.unreadable):
            raise TrainingError(f"{what}\nRepair or remove them, or go on without them: --skip-bad")
        if should_log:
            log.warning("going on without bad files; %s", what)
    if not good.targets or (split.inputs and not good.inputs):
        raise TrainingError(f"{options.data}: no image is left; all {total} files of a domain are bad")
    left = {*good.inputs, *good.targets}
    return good, {s: image for s, image in found.images.items() if s in left}


def _check_halves(sources: Sequence[ImageFile], result: ScanResult, options: DataOptions) -> None:
    """Raise TrainingError for ordinary photos that are taken for side-by-side pairs."""
    if options.layout == "auto":
        halves = {source.path for source in sources if source.is_half}
        shapes = {path: shape for path, shape in result.shapes.items() if path in halves}
        check_side_by_side(Path(options.data), shapes)


def _select_usable(split: Split, result: ScanResult) -> tuple[Split, list[str]]:
    """The split without what cannot be used, and "file: why" of that."""
    sizes = result.sizes
    problems = [*split.problems, *(f"{path}: {reason}" for path, reason in result.problems.items())]
    if not split.is_paired:
        inputs, targets = ([s for s in sources if s in sizes] for sources in (split.inputs, split.targets))
        return Split(inputs, targets), problems
    good: list[tuple[ImageFile, ImageFile]] = []
    for a, b in zip(split.inputs, split.targets, strict=True):
        if a in sizes and b in sizes and sizes[a] == sizes[b]:
            good.append((a, b))
        elif a in sizes and b in sizes:
            (height, width), (others_height, others_width) = sizes[a], sizes[b]
            theirs = f"its partner {b.path} {others_width}x{others_height}"
            problems.append(f"{a.path}: is {width}x{height} pixels, but {theirs}")
    return Split([a for a, _ in good], [b for _, b in good], is_paired=True), problems
