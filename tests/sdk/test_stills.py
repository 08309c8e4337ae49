"""The frames that variants are compared on."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from i2i_sdk import InputError, MediaError
from i2i_sdk.quality import psnr
from i2i_sdk.stills import read_frames, spread


def test_frames_come_from_a_folder_a_video_or_the_builtin_photos(tmp_path: Path) -> None:
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((20, 30, 3), 60 * index, np.uint8))
    (tmp_path / "notes.txt").write_text("not an image")
    shots = read_frames(tmp_path, 16, 24, 3)
    assert [s.name for s in shots] == ["0.png", "1.png", "2.png"]
    assert [int(s.image.mean()) for s in shots] == [0, 60, 120]
    assert shots[0].image.shape == (16, 24, 3)
    builtin = read_frames(None, 32, 32, 3)
    assert builtin[0].name == "astronaut"
    expected = cv2.resize(data.astronaut(), (32, 32), interpolation=cv2.INTER_AREA)
    assert psnr(builtin[0].image, expected) > 28  # RGB, not BGR
    assert read_frames(None, 32, 32, 1)[0].image.shape == (32, 32, 1)


def test_missing_and_unreadable_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no images in it"):
        read_frames(tmp_path, 16, 16, 3)
    with pytest.raises(InputError, match="no such file or folder"):
        read_frames(tmp_path / "absent", 16, 16, 3)
    with pytest.raises(InputError, match="a folder of images or a video is needed"):
        read_frames(Path(__file__), 16, 16, 3)
    (tmp_path / "broken.jpg").write_bytes(b"not a jpeg")
    with pytest.raises(MediaError, match=r"broken\.jpg"):
        read_frames(tmp_path, 16, 16, 3)


@pytest.mark.parametrize("count", [0, 1, 5, 31, 32, 33, 64, 65, 100, 1000])
def test_spread_is_even_and_bounded(count: int) -> None:
    kept = spread(range(count), 32)
    assert len(kept) == count if count <= 32 else 16 <= len(kept) <= 32
    steps = {b - a for a, b in pairwise(kept)}
    assert len(steps) <= 1


def test_builtin_photos_are_all_different() -> None:
    shots = [s.image.tobytes() for s in read_frames(None, 32, 32, 3)]
    assert len(set(shots)) == len(shots) >= 6
