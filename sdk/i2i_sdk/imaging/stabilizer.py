"""Less flicker: each translated frame is blended with the one before, moved along with the picture.

A network that translates one frame at a time draws every frame anew, so texture jumps where nothing moved.
With M(x) the place in the last frame of what is now at x, and w(x) how far to trust it,

    steady_t(x) = output_t(x) + w(x) * (steady_{t-1}(M(x)) - output_t(x)),   0 <= w(x) <= strength.

The motion is that of the input frames, found from coarse to fine:

1. On a small gray picture: dense inverse search (DIS) optical flow, Kroeger et al. 2016, both ways. Where the
   two do not undo each other something was covered or uncovered, and w = 0: the forward-backward test of
   Sundaram, Brox and Keutzer 2010. Where the picture fits better unmoved, it is not moved: flow is smooth
   and would drag the background along with what passes in front of it.
2. On the input at half size, in color: w falls to 0 where the moved last frame does not look like this
   one. So what the flow gets wrong is not shown, and a cut or a change of light takes effect at once.
3. At full size only the moving and blending is done.

How steady a video is, is judged by the warping error of Lai et al. 2018 (Learning Blind Video Temporal
Consistency): the mean square of output_t(x) - output_{t-1}(M(x)) where nothing is covered, with M from
another algorithm than this one's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from i2i_sdk.errors import InputError
from i2i_sdk.imaging.geometry import check_image

Image = NDArray[np.uint8]
FlowField = NDArray[np.float32]

FLOW_SIDE = 160  # pixels of the longer side of the picture whose motion is estimated
MIN_FLOW_SIDE = 64  # … and of the shorter at least: OpenCV's DIS crashes on 12x192
ROUND_TRIP_TOLERANCE = (0.01, 0.25)  # relative and absolute part of the square error allowed, in flow pixels
MIN_MOTION = 0.08  # flow pixels; less motion is taken for none, since each interpolation costs sharpness
# Gray levels up to which a pixel is trusted wholly, and from which not at all. Where the translation is the
# input, something that differs by d from what it uncovers, and is not noticed as such, leaves behind
# strength**2 * d * (14 - d) / 12 levels after two frames: for 0.7 at most 2.
FULL_TRUST_LEVEL, NO_TRUST_LEVEL = 2.0, 14.0
MAX_NOISE = 6.0  # gray levels of noise, at most, that are not taken for change
CUT_SHARE = 0.5  # share of a picture that does not fit the last one, from which it is another scene …
CUT_LEVELS = 20  # … not fitting by more gray levels than this
MAX_SIDE = 32766  # pixels of a side that OpenCV's remap takes
NEIGHBORHOOD = np.ones((3, 3), np.uint8)


class Stabilizer:
    """Motion-compensated smoothing of a translated video.

    strength: share of the last frame where the motion is certain, 0 (off) to less than 1. Higher is calmer
    and follows slow changes of the translation later: 1 / (1 - strength) frames on average.

    Call it with every frame, in order: uint8 [H, W, 3] input picture and its translation of the same size,
    0..255, both in the same color order, whichever it is. It returns the steadier translation, uint8
    [H, W, 3]: a new array, or `output` itself for the first frame, after a change of size, and at a cut,
    which is where at least half of the picture does not fit the last one. From there the past counts no more.

    Memory: about 30 bytes per pixel of a frame, however long the video. For one stream and one thread.

    Raises InputError for another strength, dtype or shape, two sizes, or a side over 32766 pixels.

    Example:
        >>> import numpy as np
        >>> steady = Stabilizer()
        >>> frame, output = np.zeros((2, 48, 64, 3), np.uint8)
        >>> steady(frame, output).shape
        (48, 64, 3)
    """

    def __init__(self, strength: float = 0.7) -> None:
        if not 0 <= strength < 1:
            raise InputError(f"strength is {strength}; allowed: 0 (no smoothing) to less than 1, usually 0.7")
        self.strength = strength
        self._size: tuple[int, ...] = ()
        self._last: _DownscaledFrame | None = None

    def __call__(self, frame: Image, output: Image) -> Image:
        """The steadier translation of this frame; see the class."""
        _check(frame, output)
        if self.strength == 0:
            return output
        if frame.shape != self._size:
            self._size, self._last = frame.shape, None
            self._estimator, self._blender = _MotionEstimator(*frame.shape[:2]), _Blender(*frame.shape[:2])
        look, last = self._estimator.downscale(frame), self._last
        self._last = look
        motion = None if last is None else self._estimator.estimate_motion(look, last)
        if last is None or motion is None:
            return self._blender.start(output)
        weights = self._estimator.compute_weights(look, last, motion, self.strength)
        return self._blender.blend(output, motion.flow, weights)

    def reset(self) -> None:
        """Forget the past: after a seek, a reconnect, or a change of the model."""
        self._last = None


@dataclass(frozen=True)
class _DownscaledFrame:
    """What is kept of an input frame."""

    color: Image  # [H / 2, W / 2, 4]; the fourth channel is there because OpenCV moves four faster than three
    gray: Image  # [h, w], small


@dataclass(frozen=True)
class _Motion:
    """Where in the last frame lies what is now at a pixel of the small picture."""

    flow: FlowField  # [h, w, 2], x and y, in its pixels
    occluded: Image  # [h, w], 255 where the last frame does not show it, else 0


class _Warper:
    """Fetches every pixel of an image of one size from where a flow field of any size points."""

    def __init__(self, height: int, width: int) -> None:
        self.size = (width, height)
        self._flow = np.empty((height, width, 2), np.float32)

    def __call__(self, image: Any, flow: FlowField, out: Any = None) -> Any:
        """`image` [H, W] or [H, W, C], moved; beyond its border it is as at the border."""
        width, height = self.size
        flow = flow * np.array((width / flow.shape[1], height / flow.shape[0]), np.float32)
        cv2.resize(flow, self.size, self._flow)
        how, no_second_map = cv2.INTER_LINEAR | cv2.WARP_RELATIVE_MAP, cast("Any", None)
        return cv2.remap(image, self._flow, no_second_map, how, out, cv2.BORDER_REPLICATE)


class _MotionEstimator:
    """Finds the motion between input frames of one size, and how far to trust it."""

    def __init__(self, height: int, width: int) -> None:
        small = [max(MIN_FLOW_SIDE, round(FLOW_SIDE * side / max(height, width))) for side in (height, width)]
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._dis.setVariationalRefinementIterations(3)  # not 5: a fifth less time, the same steadiness
        self._small, self._half = _Warper(*small), _Warper(max(1, height // 2), max(1, width // 2))
        y, x = np.mgrid[: small[0], : small[1]].astype(np.float32)
        self._pixels: FlowField = np.dstack([x, y])

    def downscale(self, frame: Image) -> _DownscaledFrame:
        half = np.asarray(cv2.resize(frame, self._half.size, interpolation=cv2.INTER_AREA), np.uint8)
        gray = np.asarray(cv2.cvtColor(half, cv2.COLOR_BGR2GRAY), np.uint8)
        while gray.size >= 9 * self._pixels[:, :, 0].size:  # linear interpolation alone would skip pixels
            smaller = (max(1, gray.shape[1] // 2), max(1, gray.shape[0] // 2))
            gray = np.asarray(cv2.resize(gray, smaller, interpolation=cv2.INTER_AREA), np.uint8)
        color = np.asarray(cv2.cvtColor(half, cv2.COLOR_BGR2BGRA), np.uint8)
        return _DownscaledFrame(color, np.asarray(cv2.resize(gray, self._small.size), np.uint8))

    def estimate_motion(self, now: _DownscaledFrame, last: _DownscaledFrame) -> _Motion | None:
        """None if the two do not show the same scene."""
        flow = self._compute_flow(now.gray, last.gray)
        back = self._small(self._compute_flow(last.gray, now.gray), flow)
        misfit = _compute_misfit(now.gray, self._small(last.gray, flow))
        unmoved = _compute_misfit(now.gray, last.gray)
        moving = np.asarray(misfit <= unmoved, np.uint8)
        covered = self._find_inconsistent(flow, back) & (moving > 0)
        if np.mean(covered | (np.minimum(misfit, unmoved) > CUT_LEVELS)) >= CUT_SHARE:
            return None
        moving = cv2.blur(cv2.erode(moving, NEIGHBORHOOD).astype(np.float32), NEIGHBORHOOD.shape)
        share = np.asarray(moving * np.clip(_compute_length(flow) / MIN_MOTION - 1, 0, 1), np.float32)
        return _Motion(flow * share[:, :, None], covered.astype(np.uint8) * 255)

    def compute_weights(
        self, now: _DownscaledFrame, last: _DownscaledFrame, motion: _Motion, strength: float
    ) -> Image:
        """Weights of the last picture in 1/255, [H / 2, W / 2]."""
        moved: Image = self._half(last.color, motion.flow)
        blue, green, red, _ = cv2.split(cv2.absdiff(now.color, moved))
        unlike = cv2.blur(cv2.max(cv2.max(blue, green), red), NEIGHBORHOOD.shape)
        unlike = cv2.dilate(unlike, NEIGHBORHOOD)  # the rim of what changed counts as much as its middle
        covered = cv2.resize(motion.occluded, self._half.size)
        refused = NO_TRUST_LEVEL + _estimate_noise(now.color, moved)
        share = np.clip((refused - np.arange(256)) / (NO_TRUST_LEVEL - FULL_TRUST_LEVEL), 0, 1)
        weights = np.round(255 * strength * share).astype(np.uint8)
        return np.asarray(cv2.LUT(cv2.max(unlike, covered), weights), np.uint8)

    def _compute_flow(self, now: Image, last: Image) -> FlowField:
        """[h, w, 2]: now(x) looks like last(x + flow(x))."""
        no_guess: Any = None
        return np.asarray(self._dis.calc(now, last, no_guess), np.float32)

    def _find_inconsistent(self, flow: FlowField, back: FlowField) -> NDArray[np.bool_]:
        """Where the way there and the way back from there do not end where they began, or lead outside."""
        relative, absolute = ROUND_TRIP_TOLERANCE
        bound = relative * (_compute_length(flow) ** 2 + _compute_length(back) ** 2) + absolute
        x, y = cv2.split(flow + self._pixels)
        width, height = self._small.size
        outside = (x < -0.5) | (y < -0.5) | (x > width - 0.5) | (y > height - 0.5)
        return outside | (_compute_length(flow + back) ** 2 > bound)


class _Blender:
    """The last steady picture and room to work in, since allocating it takes longer than the arithmetic."""

    def __init__(self, height: int, width: int) -> None:
        self._warper = _Warper(height, width)
        # OpenCV moves images of four channels more than twice as fast as those of three.
        self._steady, self._moved = (np.empty((height, width, 4), np.uint8) for _ in range(2))
        self._old, self._part, self._weight = (np.empty((height, width, 3), np.uint8) for _ in range(3))

    def start(self, output: Image) -> Image:
        """Begin with this picture, and forget what was before."""
        cv2.cvtColor(output, cv2.COLOR_BGR2BGRA, self._steady)
        return output

    def blend(self, output: Image, flow: FlowField, weights: Image) -> Image:
        """The equation at the top, with w = `compute_weights` / 255, and M as `flow` says."""
        self._warper(self._steady, flow, self._moved)
        cv2.cvtColor(self._moved, cv2.COLOR_BGRA2BGR, self._old)
        cv2.cvtColor(cv2.resize(weights, self._warper.size), cv2.COLOR_GRAY2BGR, self._weight)
        steady: Any = cv2.add(output, self._weight_difference(self._old, output))
        cv2.subtract(steady, self._weight_difference(output, self._old), steady)
        cv2.cvtColor(steady, cv2.COLOR_BGR2BGRA, self._steady)
        return steady

    def _weight_difference(self, high: Image, low: Image) -> Image:
        """w times how much `high` is above `low`."""
        cv2.subtract(high, low, self._part)
        cv2.multiply(self._part, self._weight, self._part, 1 / 255)
        return self._part


def _estimate_noise(now: Image, moved: Image) -> float:
    """Mean size of the noise in gray levels: how pixels differ, less what all have in common."""
    step = max(1, max(now.shape[:2]) // 40)
    change = np.sort((now[::step, ::step, 1].astype(np.int16) - moved[::step, ::step, 1]).ravel())
    middle = change.size // 2
    deviation = np.sort(np.abs(change - change[middle]))[middle]  # the median one
    return min(MAX_NOISE, 1.2 * float(deviation))  # 1.2: from median to mean of a Gaussian


def _compute_misfit(a: Image, b: Image) -> Image:
    return np.asarray(cv2.blur(cv2.absdiff(a, b), NEIGHBORHOOD.shape), np.uint8)


def _compute_length(flow: FlowField) -> FlowField:
    return np.asarray(cv2.magnitude(*cv2.split(flow)), np.float32)


def _check(frame: Image, output: Image) -> None:
    for image in (frame, output):
        if check_image(image).shape[2:] != (3,):
            raise InputError(f"steadying needs uint8 [H, W, 3]; got an array of shape {image.shape}")
    if max(frame.shape[:2]) > MAX_SIDE:
        raise InputError(f"steadying takes sides of at most {MAX_SIDE} pixels; got an image of {frame.shape}")
    if frame.shape != output.shape:
        raise InputError(f"a frame and its translation have one size; got {frame.shape} and {output.shape}")
