"""What reading costs: both readers read the same films, for as long as they are asked to."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from benchmarks import reading


@pytest.mark.parametrize("opener", [reading.open_opencv, reading.open_video_reader])
def test_a_film_begins_again_at_its_end(tmp_path: Path, opener: object) -> None:
    assert callable(opener)
    read = opener(str(reading.write_film(tmp_path / "a.mp4", 48, 64, "")))
    frames = [read() for _ in range(2 * reading.FRAMES + 2)]
    images = [np.asarray(getattr(frame, "image", frame)) for frame in frames if frame is not None]
    assert len(images) == 2 * reading.FRAMES
    np.testing.assert_array_equal(images[0], images[reading.FRAMES])


def test_the_interlaced_film_is_interlaced(tmp_path: Path) -> None:
    for flags in ("", "+ildct+ilme"):
        with av.open(reading.write_film(tmp_path / "a.mp4", 48, 64, flags)) as file:
            assert next(file.decode(video=0)).interlaced_frame == bool(flags)
