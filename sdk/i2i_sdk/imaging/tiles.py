"""Large frames: an engine of one size translates overlapping tiles, which are blended without seams.

Pure functions on uint8 RGB or gray arrays; the engine is an argument.

    frame ──► tiles of the engine's size ──► engine ──► low frequencies corrected ──► feathered sum

A model with InstanceNorm divides by what it measures in its input, so it makes a dark tile brighter than
its neighbor. It cannot be told what the whole frame measures. So the whole frame is translated as well,
shrunk to one tile, and that picture says what brightness and color each region has: every tile keeps its
own detail and takes the low frequencies from there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from i2i_sdk.bundle.manifest import ModelInfo
from i2i_sdk.imaging import geometry

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]
RunEngine = Callable[[list[Image]], Image]

OVERLAP = 4  # neighbors share at least 1 / OVERLAP of a tile's side
FEATHER = 8  # from one to the next it changes within 1 / FEATHER of the side, in the middle of that
GRID = 16  # pixels between two possible places of a tile; a network's strides divide it
WEIGHT_STEPS = 256  # of a weight: products of two weights and a pixel value are then exact in float32
CELLS = 32  # low frequencies are computed on a grid of this many cells along a tile's side
SIGMA = 4.0  # cells: of the Gaussian that says what is a low frequency


@dataclass(frozen=True)
class TileAxis:
    """How tiles lie along one side of a frame: where each begins, and each pixel's share in the result."""

    starts: tuple[int, ...]
    weights: tuple[Floats, ...]  # one [side] for each tile, 0..1; over all tiles they sum to 1 exactly


def compute_covered_length(length: int, side: int) -> int:
    """The smallest number of pixels, `length` or more, that tiles on the grid cover without a rest."""
    return side + math.ceil(max(length - side, 0) / _choose_grid(side)) * _choose_grid(side)


def plan_axis(length: int, side: int) -> TileAxis:
    """As few tiles of `side` pixels as cover `length` with the overlap, evenly spread over the grid.

    length: one that `compute_covered_length` gives. A tile beside the grid would differ from its neighbors:
    what a network with strides makes of a picture that moves by one pixel is not what it made, moved by one
    pixel.
    Between two neighbors the weights change along a raised cosine in the middle of their overlap, so the
    last pixels of a tile, which see nothing on their other side, do not count.
    """
    grid, rest = _choose_grid(side), length - side
    step = (side - side // OVERLAP) // grid * grid
    gaps = math.ceil(rest / step)
    starts = (0, *(rest * i // gaps // grid * grid for i in range(1, gaps + 1)))
    pixels, width = np.arange(length) + 0.5, max(side // FEATHER, 1)
    begun = [np.ones(length)]  # of each tile: 0 before it, 1 where it or a later one is all there is
    for before, after in itertools.pairwise(starts):
        progress = np.clip((pixels - (before + side + after) / 2) / width + 0.5, 0, 1)
        begun.append(np.round((0.5 - 0.5 * np.cos(np.pi * progress)) * WEIGHT_STEPS) / WEIGHT_STEPS)
    begun.append(np.zeros(length))
    shares = [(this - following).astype(np.float32) for this, following in itertools.pairwise(begun)]
    return TileAxis(starts, tuple(s[start : start + side] for s, start in zip(shares, starts, strict=True)))


def _choose_grid(side: int) -> int:
    """GRID, but for tiles so small that it would cost too many of them."""
    return GRID if side >= 4 * GRID else 1


def needs_correction(model: ModelInfo | None) -> bool:
    """Does this model make of a tile something else than of the same pixels in a whole frame?

    Not if its norm was folded into its convolutions or if it has none. Of a foreign file nothing is known,
    so it is corrected.
    """
    if model is None:
        return True
    norm = model.options.get("norm")
    return not (norm == "none" or (norm == "batch" and model.norm_mode == "running_stats"))


def translate_tiled(
    images: Sequence[Image], run: RunEngine, height: int, width: int, *, batch: int, correct: bool
) -> list[Image]:
    """Translate images of any size with an engine of one size.

    An image that is smaller than a tile is reflected at its borders. Besides images and results it holds
    one row of tiles.

    Args:
        images: uint8 [H, W, C_in] each.
        run: the engine, for at most `batch` pictures: uint8 [height, width, C_in] -> uint8 [N, height,
            width, C_out].
        height, width: of a tile, in pixels.
        batch: pictures in one call at most.
        correct: take low frequencies from a translation of the whole image, shrunk; see `needs_correction`.

    Returns:
        uint8 [H, W, C_out] for each image.
    """
    tilings = [Tiling(_pad_to_tiles(image, height, width), height, width, correct) for image in images]
    pictures = itertools.chain.from_iterable(tiling.iterate_pictures() for tiling in tilings)
    outputs = _run_in_batches(pictures, run, batch)
    results = [tiling.join(outputs) for tiling in tilings]
    return [_crop_padding(result, image) for result, image in zip(results, images, strict=True)]


class Tiling:
    """One image as tiles.

    Args:
        image: uint8 [H, W, C], H and W as `compute_covered_length` gives them.
        height, width: of a tile, in pixels.
        correct: as `translate_tiled` has it.
    """

    def __init__(self, image: Image, height: int, width: int, correct: bool) -> None:
        self.image, self.height, self.width = image, height, width
        self.rows, self.columns = plan_axis(image.shape[0], height), plan_axis(image.shape[1], width)
        self.correct = correct and image.shape[:2] != (height, width)

    def iterate_pictures(self) -> Iterator[Image]:
        """What the engine translates: the whole image at its size if that is needed, then the tiles."""
        if self.correct:
            yield geometry.resize(self.image, self.height, self.width)
        for top, left in itertools.product(self.rows.starts, self.columns.starts):
            yield self.image[top : top + self.height, left : left + self.width]

    def join(self, outputs: Iterator[Image]) -> Image:
        """The translation of the image, from what the engine makes of `iterate_pictures`, in that order."""
        whole = next(outputs) if self.correct else None
        first = next(outputs)
        tiles = itertools.chain([first], outputs)
        result = np.empty((*self.image.shape[:2], first.shape[2]), np.uint8)
        sums = np.zeros((self.height, *result.shape[1:]), np.float32)  # of one row of tiles
        ends = [*self.rows.starts[1:], len(result)]  # no later tile reaches up to these
        for top, end, down in zip(self.rows.starts, ends, self.rows.weights, strict=True):
            for left, along in zip(self.columns.starts, self.columns.weights, strict=True):
                picture: Image | Floats = next(tiles)
                if whole is not None:
                    picture = replace_low_frequencies(picture, self._crop_whole(whole, top, left))
                sums[:, left : left + self.width] += picture * np.outer(down, along)[:, :, None]
            result[top:end] = np.clip(np.rint(sums[: end - top]), 0, 255)
            sums = np.concatenate([sums[end - top :], np.zeros_like(sums[: end - top])])
        return result

    def _crop_whole(self, whole: Image, top: int, left: int) -> Image:
        """The region of a tile in a picture [height, width, C] of the whole image, at the tile's size."""
        down, along = self.height / self.image.shape[0], self.width / self.image.shape[1]
        x, y = (left + 0.5) * along - 0.5, (top + 0.5) * down - 0.5
        matrix = np.array([[along, 0, x], [0, down, y]], np.float64)
        size, how = (self.width, self.height), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        part = cv2.warpAffine(whole, matrix, size, flags=how, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(part, np.uint8).reshape(whole.shape)


def replace_low_frequencies(tile: Image, guide: Image) -> Floats:
    """`tile` with its low frequencies replaced by those of `guide`: uint8 [h, w, C] -> float32, not clipped.

    The low frequencies are a Gaussian's of SIGMA / CELLS of the tile's side. They are taken of the
    difference, so both are cut off at the tile's border in the same way.
    """
    height, width, channels = tile.shape
    difference = cv2.subtract(guide, tile, dtype=cv2.CV_32F)
    cells = (min(CELLS, width), min(CELLS, height))
    coarse = cv2.resize(difference, cells, interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(coarse, (0, 0), SIGMA, borderType=cv2.BORDER_REFLECT)
    low = cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)
    return tile + np.asarray(low, np.float32).reshape(height, width, channels)


def _run_in_batches(pictures: Iterable[Image], run: RunEngine, batch: int) -> Iterator[Image]:
    """The engine's outputs one by one; it is given as many pictures at once as it takes."""
    iterator = iter(pictures)
    while some := list(itertools.islice(iterator, batch)):
        yield from run(some)


def _pad_to_tiles(image: Image, height: int, width: int) -> Image:
    """`image` [H, W, C], reflected at its borders to what tiles of [height, width] cover."""
    tall, wide = image.shape[:2]
    height, width = compute_covered_length(tall, height), compute_covered_length(wide, width)
    if (height, width) == (tall, wide):
        return image
    placement = geometry.compute_placement(tall, wide, height, width, "pad")
    return geometry.to_canvas(image, placement, height, width)


def _crop_padding(result: Image, image: Image) -> Image:
    """Undo `_pad_to_tiles`."""
    (tall, wide, _), (height, width, _) = image.shape, result.shape
    return result[geometry.compute_placement(tall, wide, height, width, "pad").target.slices]
