"""What a stream makes of frames: reuse, masks, views, steadying, another model."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from known_bundles import FindBundle, Image, make_noise
from numpy.typing import NDArray
from streams import DEADLINE_S, make_flat_image

from i2i_sdk import InputError, Translator
from i2i_sdk.live import MemorySink, Result, ViewState
from i2i_sdk.live.processor import TranslatingProcessor
from i2i_sdk.live.results import Rate

pytestmark = pytest.mark.usefixtures("no_thread_survives")


@pytest.mark.parametrize(
    ("levels", "options", "repeated"),
    [
        ([5, 5, 5, 6, 6], {"reuse": 0}, [False, True, True, False, True]),
        # Each is within 2 levels of the one before; compared is the one that was translated.
        (range(100, 107), {"reuse": 2}, [False, True, True, False, True, True, False]),
        ([5] * 7, {"reuse": 0, "max_reuse": 2}, [False, True, True, False, True, True, False]),
    ],
)
def test_frames_that_hardly_differ_reuse_the_last_picture(
    invert: Translator, levels: Sequence[int], options: dict[str, Any], repeated: list[bool]
) -> None:
    stream = invert.stream([make_flat_image(level) for level in levels], **options)
    results = list(stream)
    assert [r.repeated for r in results] == repeated
    assert stream.stats.repeated == sum(repeated)
    results[1].output[:] = 0  # a caller may draw on its picture
    assert int(results[2].output[0, 0, 0]) == 255 - levels[0]


def test_a_small_thing_that_moves_is_not_taken_for_noise(invert: Translator) -> None:
    rng = np.random.default_rng(0)
    still = np.full((480, 640, 3), 100, np.uint8)
    noisy = np.clip(still + rng.normal(0, 3, still.shape), 0, 255).astype(np.uint8)
    moved = noisy.copy()
    moved[200:230, 300:330] += 60
    results = list(invert.stream([still, noisy, moved], reuse=2))
    assert [r.repeated for r in results] == [False, True, False]


def test_mirror_blend_and_mask(invert: Translator) -> None:
    frame = make_noise(24, 40, 3)
    (mirrored,) = invert.stream([frame], mirror=True)
    np.testing.assert_array_equal(mirrored.frame, frame[:, ::-1])
    np.testing.assert_array_equal(mirrored.output, 255 - frame[:, ::-1])
    (half,) = invert.stream([frame], blend=0.5)
    assert np.abs(half.output.astype(int) - 127.5).max() <= 1
    (none,) = invert.stream([frame], blend=0.0)
    np.testing.assert_array_equal(none.output, frame)

    def right_half(image: Image) -> NDArray[np.bool_]:
        mask = np.zeros(image.shape[:2], bool)
        mask[:, 20:] = True
        return mask

    (masked,) = invert.stream([frame], mask=right_half)
    np.testing.assert_array_equal(masked.output[:, :20], frame[:, :20])
    np.testing.assert_array_equal(masked.output[:, 20:], 255 - frame[:, 20:])


def test_views_and_text_are_in_the_picture_and_not_in_the_output(invert: Translator) -> None:
    frames = [make_noise(120, 160, 3, seed=seed) for seed in range(2)]
    sink = MemorySink()
    invert.stream(frames, sinks=[sink], view="side").run()
    for frame, result in zip(frames, sink.results, strict=True):
        np.testing.assert_array_equal(result.picture, np.hstack([frame, result.output]))
    lettered = MemorySink()
    invert.stream(frames, sinks=[lettered], overlay=True).run()
    first, second = lettered.results
    np.testing.assert_array_equal(first.picture, first.output)  # nothing is known yet
    assert not np.array_equal(second.picture, second.output)
    np.testing.assert_array_equal(second.output, sink.results[1].output)


def test_another_translator_takes_over_at_once_even_while_pictures_are_reused(
    invert: Translator, known: FindBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, go = threading.Event(), threading.Event()
    timed = invert.timed

    def run_gated(images: list[Image]) -> object:
        busy.set()
        assert go.wait(DEADLINE_S)
        return timed(images)

    monkeypatch.setattr(invert, "timed", run_gated)
    with Translator(known("identity"), backend="ort") as identity:
        stream = invert.stream([make_flat_image(10)] * 8, reuse=0)
        received: list[Result] = []
        consumer = threading.Thread(target=lambda: received.extend(stream))
        consumer.start()
        assert busy.wait(DEADLINE_S)
        stream.translator = identity  # while the old one still translates the first frame
        go.set()
        consumer.join(DEADLINE_S)
    assert [int(r.output[0, 0, 0]) for r in received] == [245, *[10] * 7]


def test_an_iterable_may_fill_one_array_again_and_again(invert: Translator) -> None:
    def refill_frames() -> Iterator[Image]:
        image = make_flat_image(0)
        for level in range(10):
            image[:] = level
            yield image

    assert [int(r.frame[0, 0, 0]) for r in invert.stream(refill_frames())] == list(range(10))


def test_a_rate_falls_while_nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    rate = Rate()
    for event in range(31):
        rate.add(event / 30)
    clock = [1.0]
    monkeypatch.setattr("i2i_sdk.live.results.time.perf_counter", lambda: clock[0])
    assert rate.per_second == pytest.approx(30)
    clock[0] = 10.0
    assert rate.per_second == pytest.approx(3)


def test_steadying_can_be_turned_on_later_and_starts_anew(invert: Translator) -> None:
    stream = invert.stream([make_flat_image(0)], stabilize=0.0)
    assert not stream.stabilize
    process = TranslatingProcessor(stream.options, 1)

    def translate(level: int, stabilize: bool) -> int:
        (made,) = process([(0, make_flat_image(level))], invert, stabilize)
        return int(made.output[0, 0, 0])

    assert [translate(100, True), translate(101, True)] == [155, 155]  # 154 would be the translation alone
    assert [translate(101, False), translate(100, True)] == [154, 155]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blend": 1.5}, "blend is 1.5"),
        ({"stabilize": 1.0}, "strength is 1.0"),
        ({"reuse": -1}, "reuse is -1"),
        ({"max_reuse": 0}, "max_reuse is 0"),
        ({"mask": np.zeros((2, 2))}, "mask is ndarray"),
        ({"mask": lambda _: np.zeros((3, 3), bool)}, "mask"),
        ({"view": "upside-down"}, "allowed: output, split, side, input"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    invert: Translator, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        list(invert.stream([make_flat_image(0)], **options))
    with pytest.raises(InputError, match=r"position is 1\.5; allowed"):
        ViewState(position=1.5)
