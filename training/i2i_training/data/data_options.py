"""What to train on, and how images are cut from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from i2i_sdk.errors import TrainingError
from i2i_training.networks.spec import Direction, check_choices
from i2i_training.options import check_value, or_none

LabelDomains = Literal["none", "A", "B", "both"]
DataLayout = Literal["auto", "side-by-side"]
MAX_CHANNELS = 16


@dataclass(frozen=True)
class DataOptions:
    """A and B are the data set's own names: trainA and trainB, or the left and the right half."""

    data: str = ""  # data set folder
    layout: DataLayout = "auto"  # side-by-side takes images of any shape for pairs, A left and B right
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

    def __post_init__(self) -> None:
        check_choices(self, TrainingError)
        check_value("crop_size", self.crop_size, self.crop_size >= 1, "at least 1")
        check_value("jitter", self.jitter, 0 <= self.jitter <= 1, "it is a strength, 0 to 1")
        check_value("noise", self.noise, self.noise >= 0, "at least 0")
        check_value("cache_gb", self.cache_gb, self.cache_gb >= 0, "at least 0")
        for name, value in (("channels_a", self.channels_a), ("channels_b", self.channels_b)):
            check_value(name, value, 1 <= value <= MAX_CHANNELS, f"allowed: 1 to {MAX_CHANNELS}")

    def get_channels(self, domain: str) -> int:
        """Channels of the images of domain "A" or "B"."""
        return self.channels_a if domain == "A" else self.channels_b

    def are_labels(self, domain: str) -> bool:
        """Whether domain "A" or "B" holds label maps."""
        return self.labels in (domain, "both")


def check_data_options(options: DataOptions) -> None:
    """Raise TrainingError for options that do not work together, and where there is no data set."""
    if not options.data:
        raise TrainingError("no data set; say where it is: --data DIR")
    if options.load_size is not None and options.load_size < options.crop_size:
        raise TrainingError(
            f"crop_size is {options.crop_size}; crops are cut from images of load_size {options.load_size}, "
            f"so it must not be larger: try --load-size {options.crop_size}"
        )
