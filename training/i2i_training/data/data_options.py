"""What to train on, and how images are cut from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from i2i_sdk.errors import TrainingError
from i2i_training.networks.spec import Direction, check_choices
from i2i_training.options import or_none

DATA_KINDS = ("paired", "unpaired", "single")
LabelDomains = Literal["none", "A", "B", "both"]
MAX_CHANNELS = 16


@dataclass(frozen=True)
class DataOptions:
    """A and B are the data set's own names: trainA and trainB, or the left and the right half."""

    data: str = ""  # data set folder
    direction: Direction = "AtoB"  # BtoA translates from the data set's B to its A
    load_size: Annotated[int | None, or_none(int)] = 286  # images are scaled to that side; none: as they are
    crop_size: int = 256  # side of the random crops
    flip: bool = True  # mirror half of the crops
    jitter: float = 0.0  # strength of brightness, contrast, saturation changes of photos, 0 to 1
    noise: float = 0.5  # gray levels of noise, so that no crop is perfectly flat; 0 is off
    labels: LabelDomains = "none"  # domains of label maps: resized to the nearest, no jitter
    channels_a: int = 3  # of domain A: 3 is RGB, 1 gray; others are .npy files, uint8 [H, W, C]
    channels_b: int = 3  # of domain B
    skip_bad: bool = False  # go on without files that cannot be used
    cache_gb: float = 4.0  # decoded images kept in memory; those beyond are decoded each time

    def get_channels(self, domain: str) -> int:
        """Channels of the images of domain "A" or "B"."""
        return self.channels_a if domain == "A" else self.channels_b

    def are_labels(self, domain: str) -> bool:
        """Whether domain "A" or "B" holds label maps."""
        return self.labels in (domain, "both")


def check_data_options(options: DataOptions, kind: str) -> None:
    """Raise TrainingError for options that do not work, alone or together, for a recipe of `kind`."""
    if kind not in DATA_KINDS:
        raise TrainingError(f"kind is {kind!r}; allowed: {', '.join(DATA_KINDS)}")
    check_choices(options, TrainingError)
    _check_range("crop_size", options.crop_size, 1, None)
    _check_range("jitter", options.jitter, 0, 1)
    _check_range("noise", options.noise, 0, None)
    _check_range("channels_a", options.channels_a, 1, MAX_CHANNELS)
    _check_range("channels_b", options.channels_b, 1, MAX_CHANNELS)
    _check_range("cache_gb", options.cache_gb, 0, None)
    if not options.data:
        raise TrainingError("no data set; say where it is: --data DIR")
    if options.load_size is not None and options.load_size < options.crop_size:
        raise TrainingError(
            f"crop_size is {options.crop_size}; crops are cut from images of load_size {options.load_size}, "
            f"so it must not be larger: try --load-size {options.crop_size}"
        )


def _check_range(name: str, value: float, min_value: float, max_value: float | None) -> None:
    if not value >= min_value:
        raise TrainingError(f"{name} is {value}; at least {min_value}")
    if max_value is not None and value > max_value:
        raise TrainingError(f"{name} is {value}; at most {max_value}")
