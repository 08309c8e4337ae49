"""`i2i live` without a window: files, folders, pages, lost cameras, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from known_bundles import FindBundle, make_noise
from numpy.typing import NDArray
from screen import TIMEOUT_S, run_python, wait_for

from i2i_sdk.cli.live import format_summary
from i2i_sdk.cli.main import main
from i2i_sdk.live import SourceStats, StreamStats

Image = NDArray[np.uint8]
Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.usefixtures("working_folder")


def write_clip(path: Path, frames: int, fps: int = 25) -> Path:
    """160x120; gray, brighter with every frame: 40, 42 …, again from 40 after 80 frames."""
    with av.open(str(path), "w") as container:
        options = {"preset": "ultrafast", "crf": "1"}
        stream = container.add_stream("libx264", rate=Fraction(fps), options=options)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for index in range(frames):
            image = np.full((120, 160, 3), 40 + 2 * (index % 80), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def decode_video(path: Path) -> list[Image]:
    """Every frame of a video, RGB; a damaged one raises."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def run_live(known: FindBundle, *arguments: object, model: str = "invert") -> int:
    words = ["live", known(model), "--backend", "ort", "--no-window", *arguments]
    return main([str(word) for word in words])


# what it makes


def test_a_recording_of_a_file_has_every_frame_and_nothing_else(known: FindBundle, capsys: Capture) -> None:
    write_clip(Path("clip.mp4"), 30, fps=1)
    assert run_live(known, "--source", "clip.mp4", "--record", "out.mp4") == 0
    output = capsys.readouterr().out
    assert re.match(r"30 frames, [\d.]+ fps, \d+ ms \(p95 \d+\); recorded out\.mp4\n", output)
    assert float(output.split()[2]) > 1.5  # frames/s: it does not wait for the clip's own time
    frames = decode_video(Path("out.mp4"))
    assert len(frames) == 30
    for index, frame in enumerate(frames):  # no text, no bar, no line of keys anywhere
        np.testing.assert_allclose(frame, 255 - (40 + 2 * index), atol=4)
    assert sorted(path.name for path in Path().iterdir()) == ["clip.mp4", "out.mp4"]


def test_the_picture_is_what_was_asked_for(known: FindBundle) -> None:
    """A folder of images, mirrored, half blended, beside its input; stopped after two."""
    for index in range(4):
        image = np.full((24, 40, 3), 20, np.uint8)
        image[:, :20] = 200
        cv2.imwrite(f"{index}.png", image)
    options = ["--mirror", "--blend", "0.5", "--view", "side", "--reuse", "0", "--stabilize", "0.5"]
    assert run_live(known, "--source", ".", "--record", "out.mp4", *options, "--stop-after", 2) == 0
    frames = decode_video(Path("out.mp4"))
    assert [frame.shape for frame in frames] == [(24, 80, 3)] * 2
    for left, right, level in ((2, 18, 20), (22, 38, 200), (42, 78, 127)):
        np.testing.assert_allclose(frames[0][:, left:right], level, atol=6)


def test_several_sources_are_several_files(known: FindBundle, capsys: Capture) -> None:
    write_clip(Path("a.mp4"), 8)
    write_clip(Path("b.mp4"), 5)
    assert run_live(known, "--source", "a.mp4", "--source", "b.mp4", "--record", "out.mp4") == 0
    assert [len(decode_video(Path(name))) for name in ("out_1.mp4", "out_2.mp4")] == [8, 5]
    output = capsys.readouterr().out
    assert output.startswith("13 frames, ") and "; recorded out_1.mp4, out_2.mp4\n" in output


def test_without_anything_to_show_it_measures(known: FindBundle, capsys: Capture) -> None:
    write_clip(Path("clip.mp4"), 3)
    assert run_live(known, "--source", "clip.mp4", "--stop-after", 1) == 0
    assert re.fullmatch(r"1 frame, 0\.0 fps, \d+ ms \(p95 \d+\)\n", capsys.readouterr().out)


def test_summary() -> None:
    source = SourceStats("camera", 100, 4, 0, 1, 30.0, 640, 480)
    stats = StreamStats(29.96, 20.6, 24.4, 30.0, 96, 0, 3.2, (source,))
    line = "96 frames, 30.0 fps, 21 ms (p95 24), 4 dropped, 1 reconnected"
    assert format_summary(stats, []) == line
    assert format_summary(stats, [Path("a.mp4"), Path("b.mp4")]) == f"{line}; recorded a.mp4, b.mp4"
    assert format_summary(StreamStats(0, 0, 0, 0, 0, 0, 0, ()), []) == "no frames were received"
    worn = StreamStats(29.96, 20.6, 24.4, 30.0, 96, 7, 3.2, (replace(source, undecodable=2),))
    assert "4 dropped, 7 repeated, 2 damaged, 1 reconnected" in format_summary(worn, [])


# what does not work


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("60", "camera 60 cannot be opened"),
        ("60", "Give a video file or an address"),
        ("clip.mp4 --stop-after 0", "--stop-after is 0; allowed: 1 or more"),
        ("clip.mp4 --width 640 --fps 30", "--width, --fps: for camera numbers only"),
        ("clip.mp4 --source 0 --mjpeg 0", "show one source; there are 2"),
        ("clip.mp4 --record clip.mp4", "would replace its source"),
        ("clip.mp4 --record out.avi", "videos are written as .mp4"),
        ("clip.mp4 --blend 2", "blend is 2.0; allowed: 0"),
        ("nowhere.mp4", "no file or folder nowhere.mp4"),
        ("0 --fourcc MJPEG", "fourcc is 'MJPEG'; it has four letters"),
    ],
)
def test_user_errors(known: FindBundle, capsys: Capture, arguments: str, message: str) -> None:
    clip = write_clip(Path("clip.mp4"), 2).read_bytes()
    assert run_live(known, "--source", *arguments.split()) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and message in captured.err
    assert len(captured.err.splitlines()) == 1 and captured.out == ""
    assert Path("clip.mp4").read_bytes() == clip and len(list(Path().iterdir())) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        "live MODEL --no-window --width 640 --source ADDRESS",
        "live MODEL --no-window --source ADDRESS",
        "live MODEL --no-window --source x --sorce ADDRESS",
        "live ADDRESS --no-window",
        "serve ADDRESS",
        "run MODEL ADDRESS -o out.mp4",
        "run MODEL a.png ADDRESS -o out.mp4",
        "run ADDRESS a.png -o out.mp4",
        "run MODEL a.png -o ADDRESS",
        "live MODEL --no-window --source a.mp4 --record ADDRESS",
        "verify MODEL --frames ADDRESS",
        "verify MODEL surplus ADDRESS",
        "info ADDRESS",
        "bench MODEL --frames=ADDRESS",
        "tune MODEL --frames ADDRESS",
        "bundle trim ADDRESS ort-fp32-24x40",
        "export ADDRESS -o out.i2i",
        "train pix2pix --data ADDRESS --out out",
        "sample ADDRESS -o a.png",
        "convert ADDRESS a.pth",
    ],
)
@pytest.mark.parametrize(
    "address",
    [
        "htp://me:sec@r/et?1#2@h/x",
        "me:sec/ret@h/x",
        "rtsp:/me:sec@ret@h/x",
        "http://me:sec/ret@127.0.0.1:1/x",
    ],
)
def test_no_command_prints_a_password(
    known: FindBundle, capsys: Capture, caplog: pytest.LogCaptureFixture, arguments: str, address: str
) -> None:
    words = arguments.replace("MODEL", str(known("invert"))).replace("ADDRESS", address).split()
    try:
        code: object = main(words)
    except SystemExit as left:  # argparse
        code = left.code
    captured = capsys.readouterr()
    assert code == 2 and re.search(r"error: .*(\bh/x|127\.0\.0\.1:1/x|a\.png)", captured.err)
    assert not re.search("sec|ret|me:", captured.err + captured.out + caplog.text)


@pytest.mark.parametrize("address", ["page", "host:", "70000", "0.0.0.0:http"])
def test_an_address_that_is_none(known: FindBundle, capsys: Capture, address: str) -> None:
    with pytest.raises(SystemExit):
        run_live(known, "--mjpeg", address)
    assert f"got {address!r}; give a port as 8080, or 0.0.0.0:8080" in capsys.readouterr().err


def test_an_error_on_the_way_leaves_what_was_recorded(known: FindBundle, capsys: Capture) -> None:
    """A folder in which a picture cannot be translated: the ones before are in the file."""
    for name, size in (("0.png", (24, 40)), ("1.png", (24, 40)), ("2.png", (60, 60))):
        cv2.imwrite(name, make_noise(*size, 3))
    assert run_live(known, "--source", ".", "--record", "out.mp4", "--fit", "pad") == 2
    captured = capsys.readouterr()
    assert "fit='pad' keeps every pixel" in captured.err
    assert captured.out.startswith("2 frames, ") and len(decode_video(Path("out.mp4"))) == 2


# pages, lost streams, and the end


def read_page_address(process: subprocess.Popen[str]) -> str:
    """The address that it prints first."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert re.fullmatch(r"look at http://127\.0\.0\.1:\d+/\n", line), line or process.communicate()[1]
    return line.split()[-1]


def make_arguments(known: FindBundle, *more: object, model: str = "invert") -> list[object]:
    return ["-m", "i2i_sdk", "live", known(model), "--backend", "ort", "--no-window", *more]


@pytest.mark.parametrize("signals", ["SIGINT", "SIGTERM", "SIGHUP", "SIGINT SIGINT"])
def test_interrupted_it_leaves_a_file_that_plays(known: FindBundle, tmp_path: Path, signals: str) -> None:
    """A video at its own speed, on a page and in a file. An impatient second Ctrl-C does not cost it."""
    clip, out = write_clip(tmp_path / "clip.mp4", 1500), tmp_path / "out.mp4"
    words = make_arguments(known, "--source", clip, "--mjpeg", 0, "--record", out)
    with run_python(words, dict(os.environ), tmp_path) as process:
        capture = cv2.VideoCapture(f"{read_page_address(process)}stream.mjpg")
        seen = [int(capture.read()[1][60, 80, 0]) for _ in range(12)]
        assert len(set(seen)) > 5 and min(seen) >= 255 - 200 - 4 and max(seen) <= 255 - 40 + 4
        for name in signals.split():
            process.send_signal(getattr(signal, name))
            time.sleep(0.02)
        output, errors = process.communicate(timeout=TIMEOUT_S)
        capture.release()
    assert process.returncode == 0, errors
    found = re.search(r"^(\d+) frames, .*; recorded .*out\.mp4$", output, re.MULTILINE)
    assert found, output
    frames = decode_video(out)
    assert len(frames) == int(found[1]) >= 12
    assert abs(int(frames[0][60, 80, 0]) - 215) <= 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "out.mp4"]


def test_a_camera_that_goes_and_comes_back_is_told(known: FindBundle, tmp_path: Path) -> None:
    """One process is the camera of another; killed and started again at the same port."""
    clip, out = write_clip(tmp_path / "clip.mp4", 1500), tmp_path / "out.mp4"
    environment = dict(os.environ)

    def serve(port: str) -> list[object]:
        return make_arguments(known, "--source", clip, "--mjpeg", port, model="identity")

    with run_python(serve("0"), environment, tmp_path) as camera:
        address = f"{read_page_address(camera)}stream.mjpg"
        words = make_arguments(known, "--source", address, "--record", out, "--mjpeg", 0)
        with run_python(words, environment, tmp_path) as process:
            assert process.stderr is not None
            viewed = cv2.VideoCapture(f"{read_page_address(process)}stream.mjpg")
            assert viewed.read()[0]
            camera.kill()
            lost = process.stderr.readline()
            assert lost.startswith(f"{address} is lost: ")
            with run_python(serve(address.split(":")[2].split("/")[0]), environment, tmp_path):
                back = process.stderr.readline()
                assert re.fullmatch(re.escape(address) + r" is back after \d+\.\d s\n", back)
                wait_for(lambda: viewed.read()[0], "pictures after the return")
                process.send_signal(signal.SIGINT)
                output, errors = process.communicate(timeout=TIMEOUT_S)
            viewed.release()
    assert process.returncode == 0, errors
    assert errors == "" and ", 1 reconnected; recorded " in output
    assert len(decode_video(out)) == int(output.splitlines()[-1].split()[0])


def test_nohup_stays_in_force(tmp_path: Path) -> None:
    """SIGHUP that the shell switched off is not switched on again."""
    code = (
        "import os, signal; from i2i_sdk.live.stop_signals import TERMINATE, handle_signals\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "with handle_signals(TERMINATE, signal.default_int_handler):\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    try: os.kill(os.getpid(), signal.SIGTERM)\n"
        "    except KeyboardInterrupt: print('ended by SIGTERM')\n"
        "print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)\n"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.stdout.split("\n")[:2] == ["ended by SIGTERM", "True"], done.stderr
