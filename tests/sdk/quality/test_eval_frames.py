"""The frames that variants are compared on."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from i2i_sdk import InputError, MediaError
from i2i_sdk.quality.eval_frames import BUILTIN_PHOTOS, read_inputs, select_spread
from i2i_sdk.quality.metrics import psnr


def test_frames_come_from_a_folder_a_video_or_the_builtin_photos(tmp_path: Path) -> None:
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((20, 30, 3), 60 * index, np.uint8))
    (tmp_path / "notes.txt").write_text("not an image")
    inputs = read_inputs(tmp_path, 16, 24, 3)
    assert (inputs.names, inputs.source) == (("0.png", "1.png", "2.png"), "user")
    assert [int(image.mean()) for image in inputs.arrays] == [0, 60, 120]
    assert all((image.shape, image.dtype) == ((16, 24, 3), np.uint8) for image in inputs.arrays)
    builtin = read_inputs(None, 32, 32, 3)
    assert (builtin.names, builtin.source) == (BUILTIN_PHOTOS, "builtin")
    assert len({image.tobytes() for image in builtin.arrays}) == 6
    expected = cv2.resize(data.astronaut(), (32, 32), interpolation=cv2.INTER_AREA)
    assert psnr(builtin.arrays[0], expected) > 28  # RGB, not BGR
    assert read_inputs(None, 32, 32, 1, part="odd").names == BUILTIN_PHOTOS[1::2]
    assert read_inputs(None, 32, 32, 1).arrays[0].shape == (32, 32, 1)


def test_missing_and_unreadable_frames_are_refused(tmp_path: Path) -> None:
    for path, message in (
        (tmp_path, "no images in it"),
        (tmp_path / "absent", "no such file or folder"),
        (Path(__file__), "an image, a folder of images or a video is needed"),
    ):
        with pytest.raises(InputError, match=message):
            read_inputs(path, 16, 16, 3)
    (tmp_path / "broken.jpg").write_bytes(b"not a jpeg")
    (tmp_path / "sub.png").mkdir()
    with pytest.raises(MediaError, match=r"not one image can be read:\n.*broken\.jpg.*\n.*sub\.png") as error:
        read_inputs(tmp_path, 16, 16, 3)
    assert "others" not in str(error.value)


def test_junk_is_passed_over_and_unreadable_frames_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for index in range(2):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((20, 30, 3), 60 * index, np.uint8))
    for name in ("._0.png", ".hidden.jpg", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    (tmp_path / "sub.png").mkdir()
    (tmp_path / "a.webp").touch()
    (tmp_path / "page.jpg").write_text("<html>")
    for size in (16, 24):  # read for each size of engine, said once
        assert read_inputs(tmp_path, size, size, 3).names == ("0.png", "1.png")
    (message,) = caplog.messages
    assert message.startswith("3 of 5 images are left out:\n")
    assert all(name in message for name in ("a.webp", "page.jpg", "sub.png"))
    assert read_inputs(tmp_path, 16, 16, 3, part="even").names == ("0.png",)


@pytest.mark.parametrize("count", [0, 1, 5, 31, 32, 33, 64, 65, 100, 1000])
def test_spread_is_even_and_bounded(count: int) -> None:
    kept = select_spread(range(count), 32)
    assert len(kept) == count if count <= 32 else 16 <= len(kept) <= 32
    steps = {b - a for a, b in pairwise(kept)}
    assert len(steps) <= 1


@pytest.fixture(params=["folder", "video"])
def grays(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Eleven plain pictures, each 20 brighter than the one before, as files or as frames."""
    pictures = [np.full((16, 16, 3), 20 * index, np.uint8) for index in range(11)]
    if request.param == "folder":
        for index, picture in enumerate(pictures):
            cv2.imwrite(str(tmp_path / f"{index:02}.png"), picture)
        return tmp_path
    path = tmp_path / "grays.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (16, 16))
    assert writer.isOpened()
    for picture in pictures:
        writer.write(picture)
    writer.release()
    return path


def read_numbers(source: Path | None, part: str, max_frames: int = 32) -> list[int]:
    inputs = read_inputs(source, 16, 16, 3, part=part, max_inputs=max_frames)
    return [round(float(image.mean()) / 20) for image in inputs.arrays]


def test_every_second_frame_is_calibrated_on_and_the_others_are_judged(grays: Path) -> None:
    assert read_numbers(grays, "all") == list(range(11))
    assert read_numbers(grays, "even") == [0, 2, 4, 6, 8, 10]
    assert read_numbers(grays, "odd") == [1, 3, 5, 7, 9]
    name = "{:02}.png" if grays.is_dir() else "grays.avi#{}"
    assert read_inputs(grays, 16, 16, 3, part="odd").names == tuple(name.format(i) for i in (1, 3, 5, 7, 9))
    for most in (1, 2, 3, 4):
        even, odd = (read_numbers(grays, part, most) for part in ("even", "odd"))
        assert 1 <= len(even) <= most and 1 <= len(odd) <= most
        assert {n % 2 for n in even} == {0} and {n % 2 for n in odd} == {1}


def test_one_picture_is_not_enough_for_two_purposes(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "only.png"), np.zeros((16, 16, 3), np.uint8))
    for source in (tmp_path, tmp_path / "only.png"):
        assert read_numbers(source, "all") == read_numbers(source, "even") == [0]
        with pytest.raises(
            InputError, match=r"too few images: every second one .*folder of 2 images or more"
        ):
            read_inputs(source, 16, 16, 3, part="odd")
