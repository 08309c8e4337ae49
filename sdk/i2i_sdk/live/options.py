"""What a caller may ask of a stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from i2i_sdk import views
from i2i_sdk.errors import InputError
from i2i_sdk.live.sources import Event

Image = NDArray[np.uint8]
Mask = Callable[[Image], NDArray[Any]]


@dataclass(frozen=True)
class StreamOptions:
    """See `Translator.stream`, whose arguments these are."""

    # The picture
    stabilize: bool | float = False
    blend: float = 1.0
    mask: Mask | None = None
    mirror: bool = False
    # Saving work
    reuse: float | None = None
    reuse_most: int = 30
    # What is shown
    view: str = "output"
    overlay: bool = False
    # What happened
    on_event: Callable[[Event], None] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.blend, int | float) or not 0 <= self.blend <= 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InputError(f"blend is {self.blend}; allowed: 0 (the input) to 1 (the translation)")
        if not isinstance(self.stabilize, bool) and not 0 <= self.stabilize < 1:
            raise InputError(f"stabilize is {self.stabilize}; allowed: True, False, or 0 to less than 1")
        if self.reuse is not None and not 0 <= self.reuse <= 255:
            raise InputError(f"reuse is {self.reuse}; allowed: a difference of 0 to 255 gray levels, or None")
        if self.reuse_most < 1:
            raise InputError(f"reuse_most is {self.reuse_most}; allowed: 1 or more frames in a row")
        if self.mask is not None and not callable(self.mask):
            raise InputError(f"mask is {type(self.mask).__name__}; give a function from a frame to its mask")
        if self.view not in views.VIEWS:
            raise InputError(f"view is {self.view!r}; allowed: {', '.join(views.VIEWS)}")
