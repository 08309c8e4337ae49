"""Processing: from captured frames to finished pictures, the middle stage of the live loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from i2i_sdk.backends.base import Timings
from i2i_sdk.errors import InputError
from i2i_sdk.imaging import compose
from i2i_sdk.imaging.stabilizer import Stabilizer
from i2i_sdk.live.sources.source import Event

Image = NDArray[np.uint8]
Mask = Callable[[Image], NDArray[Any]]

THUMBNAIL_SIZE = 32  # cells across, whose mean colors are compared to tell whether a frame is new


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
    max_reuse: int = 30
    # What is shown
    view: str = "output"
    overlay: bool = False
    # What happened
    on_event: Callable[[Event], None] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.blend, int | float) or not 0 <= self.blend <= 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InputError(f"blend is {self.blend}; allowed: 0 (the input) to 1 (the translation)")
        if self.reuse is not None and not 0 <= self.reuse <= 255:
            raise InputError(f"reuse is {self.reuse}; allowed: a difference of 0 to 255 gray levels, or None")
        if self.max_reuse < 1:
            raise InputError(f"max_reuse is {self.max_reuse}; allowed: 1 or more frames in a row")
        if self.mask is not None and not callable(self.mask):
            raise InputError(f"mask is {type(self.mask).__name__}; give a function from a frame to its mask")


class FrameProcessor(Protocol):
    """What the live loop needs of a translator: `i2i_sdk.Translator` is one."""

    @property
    def name(self) -> str:
        """The model's name, to be shown."""
        ...

    @property
    def max_batch(self) -> int:
        """How many frames one call takes at most."""
        ...

    def timed(self, images: Sequence[NDArray[Any]]) -> tuple[list[Image], Timings]:
        """Frames uint8 [H, W, 3] BGR -> their pictures of the same size, and where the time went."""
        ...


@dataclass(frozen=True)
class ProcessedFrame:
    """A frame (mirrored if asked), its finished picture, and where the time went."""

    frame: Image
    output: Image
    repeated: bool
    timings: Timings


class TranslatingProcessor:
    """Translates frames of several sources as the options say; remembers what each needs. For one thread."""

    def __init__(self, options: StreamOptions, sources: int) -> None:
        self._options = options
        self._used: FrameProcessor | None = None
        self._forgotten: set[int] = set()
        self._pasts = [_SourceHistory(options) for _ in range(sources)]

    def __call__(
        self, batch: Sequence[tuple[int, Image]], translator: FrameProcessor, stabilize: bool
    ) -> list[ProcessedFrame]:
        """Finish frames; those that need the engine share one call.

        Args:
            batch: the number of each frame's source, and the frame, uint8 [H, W, 3] BGR.
            translator: that translates them; with another one than before, nothing is reused.
            stabilize: steady the pictures.

        Returns:
            One for each frame, in their order.

        Raises:
            InputError: a mask does not fit its frame.
            BackendError: the engine fails.
        """
        start = time.perf_counter()
        self._forget_what_is_past(translator)
        sources = [source for source, _ in batch]
        frames = [compose.mirror_image(frame) if self._options.mirror else frame for _, frame in batch]
        reused = [self._pasts[s].find_reusable(frame) for s, frame in zip(sources, frames, strict=True)]
        fresh = [frame for frame, old in zip(frames, reused, strict=True) if old is None]
        before_ms = (time.perf_counter() - start) * 1000
        made, timings = translator.timed(fresh) if fresh else ([], Timings())
        news = iter(made)
        outputs = [next(news) if old is None else old for old in reused]
        finished: list[ProcessedFrame] = []
        for source, frame, output, old in zip(sources, frames, outputs, reused, strict=True):
            begun, repeated = time.perf_counter(), old is not None
            self._pasts[source].remember(output, repeated=repeated)
            picture = self._postprocess(source, frame, output, stabilize)
            post_ms = timings.post_ms + (time.perf_counter() - begun) * 1000
            spent = Timings(before_ms + timings.pre_ms, timings.engine_ms, post_ms)
            finished.append(ProcessedFrame(frame, picture, repeated, spent))
        return finished

    def forget(self, source: int) -> None:
        """What comes next has nothing to do with what was: after a reconnect. From any thread."""
        self._forgotten.add(source)

    def _forget_what_is_past(self, translator: FrameProcessor) -> None:
        """Between two batches, so that nothing old is remembered as new."""
        if translator is not self._used:
            self._used = translator
            self._forgotten.update(range(len(self._pasts)))
        while self._forgotten:
            self._pasts[self._forgotten.pop()] = _SourceHistory(self._options)

    def _postprocess(self, source: int, frame: Image, output: Image, stabilize: bool) -> Image:
        options, picture = self._options, output
        stabilizer = self._pasts[source].stabilizer
        if stabilize:
            picture = stabilizer(frame, picture)
        else:  # what is long past must not count when it is turned on
            stabilizer.reset()
        if options.blend < 1:
            picture = compose.blend_images(frame, picture, options.blend)
        if options.mask is not None:
            picture = compose.apply_mask(frame, picture, options.mask(frame))
        # A result is its owner's to draw on; the array that was remembered must stay as it is.
        return picture.copy() if picture is output and options.reuse is not None else picture


class _SourceHistory:
    """What one source's next picture may need of its earlier ones."""

    def __init__(self, options: StreamOptions) -> None:
        strength = options.stabilize
        # True and False, or 0, say whether, not how much; a key may turn it on later.
        self.stabilizer = Stabilizer() if isinstance(strength, bool) or not strength else Stabilizer(strength)
        self._options = options
        self._seen: Image | None = None  # what is compared of the newest frame, and of the translated one
        self._translated: Image | None = None
        self._output: Image | None = None
        self._run = 0

    def find_reusable(self, frame: Image) -> Image | None:
        """The last translation if `frame` is as good as the frame that it was made of."""
        threshold = self._options.reuse
        if threshold is None:
            return None
        self._seen = make_thumbnail(frame) if threshold else frame
        if self._translated is None or self._output is None or self._output.shape != frame.shape:
            return None
        if self._run >= self._options.max_reuse:
            return None
        difference = cv2.norm(self._seen, self._translated, cv2.NORM_INF)  # the largest of all values
        return self._output if difference <= threshold else None

    def remember(self, output: Image, *, repeated: bool) -> None:
        """Compare with the frame that was translated, not with the one before: small changes add up."""
        self._run = self._run + 1 if repeated else 0
        if self._options.reuse is not None and not repeated:
            self._translated, self._output = self._seen, output


def make_thumbnail(image: Image) -> Image:
    """uint8 [H, W, 3] -> mean colors of its cells; noise of a camera averages out, what moves does not."""
    height, width = image.shape[:2]
    across, down = min(THUMBNAIL_SIZE, width), min(max(1, round(THUMBNAIL_SIZE * height / width)), height)
    return np.asarray(cv2.resize(image, (across, down), interpolation=cv2.INTER_AREA), np.uint8)
