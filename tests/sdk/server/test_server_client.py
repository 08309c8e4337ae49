"""examples/client.py against a real server: what the documentation tells people to start from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from known_bundles import FindBundle, make_noise
from running_server import TIMEOUT_S, make_gradient, run_server

from i2i_sdk.media.video import VideoReader
from i2i_sdk.media.video_writer import VideoWriter
from i2i_sdk.server.settings import ServeOptions


def run_client(root: Path, *arguments: object, token: str = "") -> subprocess.CompletedProcess[str]:
    words = [sys.executable, str(root / "examples" / "client.py"), *map(str, arguments)]
    environment = {**os.environ, "I2I_TOKEN": token}
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)


def test_it_is_short(root: Path) -> None:
    assert len((root / "examples" / "client.py").read_text().splitlines()) < 90


@pytest.mark.parametrize("token", ["", "sesame"])
def test_a_picture_and_a_video(known: FindBundle, root: Path, tmp_path: Path, token: str) -> None:
    image = make_noise(24, 40, 3)
    cv2.imwrite(str(tmp_path / "in.png"), image)
    with VideoWriter(tmp_path / "in.mp4", 80, 48, 25.0, audio_from=None) as writer:
        for number in range(10):
            writer.write(np.roll(make_gradient(), 4 * number, axis=1), number * 40.0)
    with run_server([known("invert")], options=ServeOptions(port=0, token=token or None)) as server:
        for name, out in (("in.png", "out.png"), ("in.mp4", "out.mp4")):
            done = run_client(root, server.url, tmp_path / name, tmp_path / out, token=token)
            assert done.returncode == 0, done.stderr
        if token:
            done = run_client(root, server.url, tmp_path / "in.mp4", tmp_path / "no.mp4", token="wrong")
            assert done.returncode == 1 and "for a token" in done.stderr
    assert (cv2.imread(str(tmp_path / "out.png")) == 255 - image).all()
    with VideoReader(tmp_path / "in.mp4") as before, VideoReader(tmp_path / "out.mp4") as after:
        pairs = list(zip(before, after, strict=True))  # every frame, and no more
    assert len(pairs) == 10
    for original, got in pairs:
        assert np.abs(got.image.astype(int) - (255 - original.image)).mean() < 8


def test_what_goes_wrong_is_said(known: FindBundle, root: Path, tmp_path: Path) -> None:
    """In one line, and the exit code is not 0."""
    there, missing, out = tmp_path / "in.png", tmp_path / "missing.mp4", tmp_path / "out.png"
    cv2.imwrite(str(there), make_noise(24, 40, 3))
    with run_server([known("invert")], options=ServeOptions(port=0, token="sesame")) as server:
        elsewhere = f"{server.url}/elsewhere"
        assert_error(run_client(root, server.url, there, out), "for a token")
        assert_error(run_client(root, server.url, missing, out), "missing.mp4 is no camera, picture or video")
        assert_error(run_client(root, server.url, there, out, token="wrong"), "for a token")
        assert_error(run_client(root, elsewhere, there, out, token="sesame"), "there is no such address")
    assert_error(run_client(root, server.url, there, out), "refused")  # nobody listens there any more
    assert "http://127.0.0.1:8000 photo.jpg" in run_client(root).stderr


def assert_error(process: subprocess.CompletedProcess[str], message: str) -> None:
    """OpenCV has lines of its own about what it cannot open; they do not begin with "error"."""
    assert process.returncode == 1 and "Traceback" not in process.stderr, process.stderr
    (error,) = [line for line in process.stderr.splitlines() if line.startswith("error: ")]
    assert message in error
