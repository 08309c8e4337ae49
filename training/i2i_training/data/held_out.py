"""Images that are not trained on, whole: for scores and sample grids."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from i2i_sdk.errors import TrainingError
from i2i_training.data.data_options import DataOptions, check_data_options
from i2i_training.data.image_tensors import Image
from i2i_training.data.layout import find_layout, select_evenly
from i2i_training.data.scan import read_split


@dataclass(frozen=True)
class HeldOutSet:
    """uint8 images [H, W, C], RGB where C is 3, whose sides suit the network.

    inputs: images to translate; none for a single domain.
    targets: the truth for each of them, of its size, where pairs exist, also when the recipe hides them.
    others: examples of the domain that is translated into, for comparing distributions; those of the
        training set if no others exist. Where there are targets it is the same list, so that the way back,
        from `others`, has its truth in `inputs`.
    """

    inputs: list[Image]
    targets: list[Image] | None
    references: list[Image]


def read_held_out(
    options: DataOptions, kind: str, multiple_of: int, min_size: int, max_images: int | None = None
) -> HeldOutSet:
    """Read held-out images for a recipe of `kind` "paired", "unpaired" or "single".

    Args:
        options: of the data set.
        kind: of the recipe.
        multiple_of: what the sides are multiples of: images that are stretched (`load_size`) are stretched
            to the next lower multiple, others lose rows at the bottom and columns at the right.
        min_size: pixels that a side must have.
        max_images: at most so many images of a domain, evenly spaced.

    Returns:
        The images, and the truth where pairs exist.

    Raises:
        TrainingError: listing every file that cannot be used, as `TrainingData` does.
    """
    check_data_options(options)
    min_size = math.ceil(min_size / multiple_of) * multiple_of
    if options.load_size is not None and options.load_size - options.load_size % multiple_of < min_size:
        raise TrainingError(
            f"load_size is {options.load_size}; held-out images need at least {min_size} pixels, in "
            f"multiples of {multiple_of}"
        )
    layout = find_layout(Path(options.data), kind, options.direction, options.layout)
    held, train = layout.held_out, layout.train
    inputs, targets = (select_evenly(x, max_images) for x in (held.inputs, held.targets or train.targets))
    chosen = replace(held, inputs=inputs, targets=targets)  # both of a pair, since there are as many
    good, images = read_split(chosen, options, min_size, math.inf, multiple_of)
    inputs, others = ([images[s] for s in sources] for sources in (good.inputs, good.targets))
    return HeldOutSet(inputs, others if good.is_paired else None, others)
