"""What to train on, and how images are cut from it."""

from __future__ import annotations

from dataclasses import dataclass

from i2i_sdk.errors import TrainingError
from i2i_training.networks.spec import DIRECTIONS
from i2i_training.options.flags import option

DATA_KINDS = ("paired", "unpaired", "single")
LABEL_DOMAINS = ("none", "A", "B", "both")
MAX_CHANNELS = 16


@dataclass(frozen=True)
class DataOptions:
    """A and B are the data set's own names: trainA and trainB, or the left and the right half."""

    data: str = option("", "data set folder")
    direction: str = option("AtoB", "BtoA translates from the data set's B to its A", choices=DIRECTIONS)
    load_size: int | None = option(286, "images are stretched to that side, squared; none keeps their size")
    crop_size: int = option(256, "side of the random crops")
    flip: bool = option(True, "mirror half of the crops")
    jitter: float = option(0.0, "strength of brightness, contrast, saturation changes of photos, 0 to 1")
    noise: float = option(0.5, "gray levels of noise, so that no crop is perfectly flat; 0 is off")
    labels: str = option(
        "none", "domains of label maps: resized to the nearest, no jitter", choices=LABEL_DOMAINS
    )
    channels_a: int = option(3, "of domain A: 3 is RGB, 1 gray; others are .npy files, uint8 [H, W, C]")
    channels_b: int = option(3, "of domain B")
    skip_bad: bool = option(False, "go on without files that cannot be used")
    cache_gb: float = option(4.0, "decoded images kept in memory; those beyond are decoded each time")

    def get_channels(self, domain: str) -> int:
        """Channels of the images of domain "A" or "B"."""
        return self.channels_a if domain == "A" else self.channels_b

    def are_labels(self, domain: str) -> bool:
        """Whether domain "A" or "B" holds label maps."""
        return self.labels in (domain, "both")


def check_data_options(options: DataOptions, kind: str) -> None:
    """Raise TrainingError for options that do not work, alone or together, for a recipe of `kind`."""
    _check_choice("kind", kind, DATA_KINDS)
    _check_choice("direction", options.direction, DIRECTIONS)
    _check_choice("labels", options.labels, LABEL_DOMAINS)
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
            f"so it must not be larger: try --load_size {options.crop_size}"
        )


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise TrainingError(f"{name} is {value!r}; allowed: {', '.join(allowed)}")


def _check_range(name: str, value: float, min_value: float, max_value: float | None) -> None:
    if not value >= min_value:
        raise TrainingError(f"{name} is {value}; at least {min_value}")
    if max_value is not None and value > max_value:
        raise TrainingError(f"{name} is {value}; at most {max_value}")
