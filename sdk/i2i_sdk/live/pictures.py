"""From captured frames to finished pictures: the middle stage of the live loop."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from i2i_sdk import views
from i2i_sdk.live.options import StreamOptions
from i2i_sdk.temporal import Stabilizer
from i2i_sdk.translator import Laps

if TYPE_CHECKING:
    from i2i_sdk.translator import Translator

Image = NDArray[np.uint8]

THUMBNAIL = 32  # cells across, whose mean colours are compared to tell whether a frame is new


@dataclass(frozen=True)
class Finished:
    """A frame (mirrored if asked), its finished picture, and where the time went in milliseconds."""

    frame: Image
    output: Image
    repeated: bool
    pre_ms: float
    engine_ms: float
    post_ms: float


class PictureMaker:
    """Translates frames of several sources as the options say; remembers what each source needs. For one
    thread.

    translator, stabilize: may be changed while it works.
    """

    def __init__(self, translator: Translator, options: StreamOptions, sources: int) -> None:
        self.translator = translator
        self.stabilize = bool(options.stabilize)
        self._options = options
        self._used = translator
        self._forgotten: set[int] = set()
        self._pasts = [_Past(options) for _ in range(sources)]

    def __call__(self, batch: Sequence[tuple[int, Image]]) -> list[Finished]:
        """(source, frame) -> finished pictures, in that order; those that need the engine share one call."""
        start = time.perf_counter()
        translator = self._up_to_date()
        frames = [views.mirrored(frame) if self._options.mirror else frame for _, frame in batch]
        reused = [
            self._pasts[source].reusable(frame) for (source, _), frame in zip(batch, frames, strict=True)
        ]
        fresh = [frame for frame, old in zip(frames, reused, strict=True) if old is None]
        before_ms = (time.perf_counter() - start) * 1000
        made, laps = translator.timed(fresh) if fresh else ([], Laps())
        news = iter(made)
        outputs = [next(news) if old is None else old for old in reused]
        finished: list[Finished] = []
        for (source, _), frame, output, old in zip(batch, frames, outputs, reused, strict=True):
            begun = time.perf_counter()
            self._pasts[source].remember(frame, output, repeated=old is not None)
            picture = self._finish(source, frame, output)
            post_ms = laps.post_ms + (time.perf_counter() - begun) * 1000
            finished.append(
                Finished(frame, picture, old is not None, before_ms + laps.pre_ms, laps.engine_ms, post_ms)
            )
        return finished

    def forget(self, source: int) -> None:
        """What comes next has nothing to do with what was: after a reconnect. From any thread."""
        self._forgotten.add(source)

    def _up_to_date(self) -> Translator:
        """Do between two batches what was asked for meanwhile, so that nothing old is remembered as new."""
        translator = self.translator
        if translator is not self._used:
            self._used = translator
            self._forgotten.update(range(len(self._pasts)))
        while self._forgotten:
            self._pasts[self._forgotten.pop()] = _Past(self._options)
        return translator

    def _finish(self, source: int, frame: Image, output: Image) -> Image:
        options, picture = self._options, output
        if self.stabilize:
            picture = self._pasts[source].steadied(frame, picture)
        else:
            self._pasts[source].steady = False
        if options.blend < 1:
            picture = views.blended(frame, picture, options.blend)
        if options.mask is not None:
            picture = views.masked(frame, picture, options.mask(frame))
        # A result is its owner's to draw on; the array that was remembered must stay as it is.
        return picture.copy() if picture is output and options.reuse is not None else picture


class _Past:
    """What one source's next picture may need of its earlier ones."""

    def __init__(self, options: StreamOptions) -> None:
        wanted = options.stabilize
        self.steady = False  # was the last picture steadied?
        self._stabilizer = Stabilizer() if isinstance(wanted, bool) or wanted == 0 else Stabilizer(wanted)
        self._options = options
        self._small: Image | None = None  # the thumbnail of `_frame`
        self._seen: Image | None = None  # that of the frame that was asked about last
        self._frame: Image | None = None
        self._output: Image | None = None
        self._run = 0

    def steadied(self, frame: Image, output: Image) -> Image:
        """The steadier picture; what is long past does not count."""
        if not self.steady:
            self._stabilizer.reset()
        self.steady = True
        return self._stabilizer(frame, output)

    def reusable(self, frame: Image) -> Image | None:
        """The last translation if `frame` is as good as the frame that it was made of."""
        threshold = self._options.reuse
        if threshold is None or self._frame is None or self._run >= self._options.reuse_most:
            return None
        if frame.shape != self._frame.shape:
            return None
        if threshold == 0:
            return self._output if np.array_equal(frame, self._frame) else None
        assert self._small is not None
        self._seen = thumbnail(frame)
        return self._output if difference(self._seen, self._small) <= threshold else None

    def remember(self, frame: Image, output: Image, *, repeated: bool) -> None:
        """Compare with the frame that was translated, not with the one before: small changes add up."""
        self._run = self._run + 1 if repeated else 0
        if self._options.reuse is not None and not repeated:
            self._frame, self._output = frame, output
            if self._options.reuse > 0:
                self._small = thumbnail(frame) if self._seen is None else self._seen
        self._seen = None


def thumbnail(image: Image) -> Image:
    """uint8 [H, W, 3] -> mean colours of its cells; noise of a camera averages out, what moves does not."""
    height, width = image.shape[:2]
    across, down = min(THUMBNAIL, width), min(max(1, round(THUMBNAIL * height / width)), height)
    return np.asarray(cv2.resize(image, (across, down), interpolation=cv2.INTER_AREA), np.uint8)


def difference(one: Image, other: Image) -> float:
    """The largest difference of any cell in any colour, in gray levels."""
    return float(cv2.norm(one, other, cv2.NORM_INF))
