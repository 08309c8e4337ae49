"""Real clips through the real horse-to-zebra network: is the steadied video steadier, and without ghosts?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.steadiness import SteadinessScore, iter_frame_pairs
from i2i_sdk import Translator
from i2i_sdk.imaging.stabilizer import Stabilizer
from i2i_sdk.media.video import VideoReader


@pytest.fixture(scope="module")
def translate(horse2zebra: Path) -> Iterator[Translator]:
    with Translator(horse2zebra, backend="openvino", precision="fp32") as translator:
        yield translator


@pytest.mark.parametrize("clip", ["book.mkv", "help.mkv"])
def test_steadier_by_another_flow_and_raw_where_occluded(
    clip: str, translate: Translator, shared_data: Path
) -> None:
    score = SteadinessScore()
    with VideoReader(shared_data / "clips" / clip) as video:
        for step in iter_frame_pairs(translate, video, Stabilizer(), 30):
            score.add(step)
    assert len(score.raw) == 29
    assert score.gain >= 0.4
    assert score.covered_values > 1000 and score.covered_db >= 40
