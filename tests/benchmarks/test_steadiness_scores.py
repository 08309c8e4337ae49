"""The judge of the smoother, on pictures whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.steadiness import (
    FramePair,
    SteadinessScore,
    compute_warping_error,
    estimate_motion,
    list_shared_clips,
    main,
    make_rows,
    make_texture,
    warp,
)
from i2i_sdk import InputError
from i2i_sdk.perf.record import VALUES

WORLD = make_texture(200, 300, 60)
LAST, FRAME = np.ascontiguousarray(WORLD[:, 6:246]), np.ascontiguousarray(WORLD[:, :240])  # 6 to the right


def test_the_motion_is_found_and_undone() -> None:
    flow, seen = estimate_motion(FRAME, LAST)
    assert np.median(flow[seen][:, 0]) == pytest.approx(-6, abs=0.1)
    assert np.median(flow[seen][:, 1]) == pytest.approx(0, abs=0.1)
    assert seen[20:-20, 20:-20].mean() > 0.95
    inner = np.s_[20:-20, 20:-20]
    assert np.abs(warp(LAST, flow)[inner].astype(int) - FRAME[inner]).mean() < 3


def test_flicker_is_what_changes_along_the_motion() -> None:
    flow, seen = np.zeros((4, 5, 2), np.float32), np.ones((4, 5), np.bool_)
    dark, bright = np.full((4, 5, 3), 100, np.uint8), np.full((4, 5, 3), 103, np.uint8)
    assert compute_warping_error(bright, dark, flow, seen) == pytest.approx(9)
    assert compute_warping_error(dark, dark, flow, seen) == 0
    bright[0] = 200
    seen[0] = False
    assert compute_warping_error(bright, dark, flow, seen) == pytest.approx(9)


def test_a_score_becomes_two_rows() -> None:
    score = SteadinessScore()
    still = WORLD[:, :240]
    plus, half = (np.clip(still.astype(int) + levels, 0, 255).astype(np.uint8) for levels in (8, 4))
    rejected = np.zeros(still.shape[:2], np.bool_)
    rejected[:10] = True
    score.add(FramePair(still, plus, half, (still, still, still), rejected, milliseconds=2.0))
    unsmoothed, smoothed = make_rows("clip", score, 0.7)
    assert [unsmoothed.name, smoothed.name] == ["unsmoothed", "strength 0.7"]
    assert (smoothed.height, smoothed.width) == (200, 240)
    assert unsmoothed.values["warping"] == pytest.approx(64, rel=0.05)
    assert smoothed.values["warping"] == pytest.approx(16, rel=0.05)
    assert smoothed.values["steadier"] == pytest.approx(0.75, abs=0.02)
    assert smoothed.values["covered_psnr"] == pytest.approx(10 * np.log10(255**2 / 16), abs=0.3)
    assert smoothed.times["smooth"].median_ms == 2.0
    assert {*unsmoothed.values, *smoothed.values} <= set(VALUES)


def test_without_clips_it_says_what_to_give(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("I2I_SHARED_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"no clips: give some"):
        list_shared_clips()
    with pytest.raises(SystemExit):
        main(["--frames", "few"])
