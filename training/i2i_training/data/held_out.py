"""Images that are not trained on, whole: for scores and sample grids."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from i2i_sdk.errors import TrainingError
from i2i_training.data.images import Image
from i2i_training.data.layout import Source, Split, evenly, find_layout
from i2i_training.data.options import DataOptions, check_options
from i2i_training.data.scan import Shape, read_split, stretcher


@dataclass(frozen=True)
class HeldOut:
    """uint8 images [H, W, C], RGB where C is 3, whose sides suit the network.

    inputs: images to translate; none for a single domain.
    targets: the truth for each of them, of its size, where pairs exist, also when the recipe hides them.
    others: examples of the domain that is translated into, for comparing distributions; those of the
        training set if no others exist. Where there are targets it is the same list, so that the way back,
        from `others`, has its truth in `inputs`.
    names: of the inputs, without suffix; for a single domain, of the others.
    """

    inputs: list[Image]
    targets: list[Image] | None
    others: list[Image]
    names: list[str]


def read_held_out(
    options: DataOptions, kind: str, multiple_of: int, smallest: int, most: int | None = None
) -> HeldOut:
    """Read held-out images for a recipe of `kind` "paired", "unpaired" or "single".

    Args:
        multiple_of: what the sides are multiples of: images that are stretched (`load_size`) are stretched
            to the next lower multiple, others lose rows at the bottom and columns at the right.
        smallest: pixels that a side must have.
        most: at most so many images of a domain, evenly spaced.

    Raises TrainingError listing every file that cannot be used, as `open_training_data` does.
    """
    check_options(options, kind)
    smallest = math.ceil(smallest / multiple_of) * multiple_of
    if options.load_size is not None and options.load_size - options.load_size % multiple_of < smallest:
        raise TrainingError(
            f"load_size is {options.load_size}; held-out images need at least {smallest} pixels, in "
            f"multiples of {multiple_of}"
        )
    layout = find_layout(Path(options.data), kind, options.direction)
    held, train = layout.held_out, layout.train
    if held.paired:
        pairs = evenly(list(zip(held.inputs, held.targets, strict=True)), most)
        chosen = Split([a for a, _ in pairs], [b for _, b in pairs], True, held.problems)
    else:
        chosen = Split(evenly(held.inputs, most), evenly(held.targets or train.targets, most))
    return _read(chosen, options, multiple_of, smallest)


def _read(chosen: Split, options: DataOptions, multiple_of: int, smallest: int) -> HeldOut:
    if options.load_size is None:
        good, images = read_split(chosen, options, smallest, _trimmer(multiple_of), float("inf"))
    else:
        good, images = read_split(chosen, options, 1, stretcher(options, multiple_of), float("inf"))
    inputs = [images[s] for s in good.inputs]
    others = [images[s] for s in good.targets]
    names = [s.path.stem for s in good.inputs or good.targets]
    return HeldOut(inputs, others if good.paired else None, others, names)


def _trimmer(multiple_of: int) -> Shape:
    def trimmed(_: Source, image: Image) -> Image:
        height, width = (side - side % multiple_of for side in image.shape[:2])
        return image[:height, :width].copy()

    return trimmed
