"""Cameras in another process: each notes when it sends, and a run adds up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from benchmarks.support.glass_to_glass import format_engine_name, to_stage_times, watch_cameras
from benchmarks.support.identity import SLOW_S, SlowEngine, write_identity
from benchmarks.support.loopback import CameraServer, Loopback, answer_command, encode_jpegs
from i2i_sdk import Translator
from i2i_sdk.live import Latency
from i2i_sdk.perf.record import TIMES, VALUES

SMALL = (320, 240)


@pytest.fixture(scope="module")
def cameras() -> Iterator[Loopback]:
    with Loopback(SMALL, fps=60.0, cameras=3) as loopback:
        yield loopback


@pytest.fixture
def translate(tmp_path: Path) -> Iterator[Translator]:
    with Translator(write_identity(tmp_path / "identity.onnx")) as translator:
        yield translator


def test_every_camera_notes_its_own_moments(cameras: Loopback, translate: Translator) -> None:
    assert len(set(cameras.urls)) == 3
    for result in translate.stream(cameras.urls[1]):
        own, never_sent = (cameras.compute_age_ms(result.frame, camera) for camera in (1, 2))
        assert 0 < own < never_sent
        break


def test_a_run_adds_up(cameras: Loopback, translate: Translator) -> None:
    run = watch_cameras(translate, cameras, 2, seconds=0.3, warm_up=0.1)
    row = run.to_row("identity", format_engine_name(translate), SMALL)
    shown = sum(run.served)
    assert all(run.served) and {len(times) for times in run.times.values()} == {shown}
    assert (row.height, row.width, row.streams, row.name) == (240, 320, 2, "ort-fp32")
    assert row.values["fps"] == pytest.approx(shown / run.seconds)
    assert row.samples["glass"] == tuple(run.times["glass"]) and row.times["glass"].runs == shown
    assert set(row.times) <= set(TIMES) and set(row.values) <= set(VALUES)
    glass, capture, added = (run.times[stage] for stage in ("glass", "capture", "added"))
    assert all(whole > got + later for whole, got, later in zip(glass, capture, added, strict=True))


def test_the_stages_after_decoding_add_up() -> None:
    named = to_stage_times(Latency(capture_ms=1, wait_ms=2, pre_ms=4, engine_ms=8, post_ms=16))
    assert named == {"capture": 1, "handed": 2, "pre": 4, "engine": 8, "post": 16, "added": 30}


def test_engines_have_names_without_a_size() -> None:
    with Translator("sketch", size=128, backend="ort", precision="fp32") as translate:
        assert format_engine_name(translate) == "ort-fp32"


@pytest.fixture
def servers() -> Iterator[list[CameraServer]]:
    pictures = encode_jpegs([np.zeros((32, 32, 3), np.uint8)])
    with ExitStack() as stack:
        yield [stack.enter_context(CameraServer([pictures])) for _ in range(2)]


def test_the_counts_of_all_together(servers: list[CameraServer]) -> None:
    servers[0].adjust_count("sent", 3)
    servers[1].adjust_count("sent", 4)
    counts = dict.fromkeys(("cut", "damage", "break", "flip", "clients"), 0)
    assert answer_command(servers, "counts") == {"sent": 7, **counts}


@pytest.mark.parametrize("command", ["dance", "damage many"])
def test_what_is_wrong_with_a_command(servers: list[CameraServer], command: str) -> None:
    assert command.split()[-1] in answer_command(servers, command)["error"]


@pytest.mark.parametrize("kind", [Translator, SlowEngine])
def test_what_goes_in_comes_out(kind: type[Translator], tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    with kind(write_identity(tmp_path / "identity.onnx", 48, 64)) as translate:
        outputs, timings = translate.timed([image, image])
        assert all(np.array_equal(output, image) for output in outputs)
        assert np.array_equal(translate(image), image)
        assert (translate.height, translate.width) == (48, 64)
    assert kind is Translator or timings.engine_ms >= SLOW_S * 1000  # it is counted as the engine's
