"""The main job on real files: the horse-to-zebra checkpoint, a real clip, in two commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from i2i_sdk import Translator
from i2i_sdk.quality.metrics import psnr
from i2i_training.checkpoint import load_generator
from tests.system.conftest import run_i2i


@pytest.fixture(scope="module")
def bundle(zebra_checkpoint: Path, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first command, with 64 photos: ort fp32; openvino fp32, int8 and, where the CPU has it, bf16."""
    folder = tmp_path_factory.mktemp("horse2zebra")
    (folder / "photos").mkdir()
    for photo in sorted((shared_data / "photos").iterdir())[:64]:
        (folder / "photos" / photo.name).symlink_to(photo)
    out = folder / "h2z.i2i"
    words = ["--to", "ort:fp32,openvino", "--frames", folder / "photos", "-o", out]
    done = run_i2i("export", zebra_checkpoint, *words)
    assert done.returncode == 0, done.stderr
    assert "ort-fp32-256x256" in done.stdout and "openvino-int8-256x256" in done.stdout
    assert f"i2i run {out}" in done.stdout
    assert "assumed: padding inside the blocks: reflect" in done.stderr
    return out


@pytest.mark.parametrize("clip", ["book.mkv", "help.mkv", "bigbuckbunny.mp4"])
def test_video_keeps_size_rate_and_frames(clip: str, bundle: Path, shared_data: Path, tmp_path: Path) -> None:
    source, out = shared_data / "clips" / clip, tmp_path / "out.mp4"
    done = run_i2i("run", bundle, source, "-o", out)
    assert done.returncode == 0, done.stderr
    before, after = read_video(source), read_video(out)
    assert len(after[0]) == len(before[0]) > 30
    assert after[0][0].shape == before[0][0].shape
    assert after[1] == pytest.approx(before[1], rel=1e-3)
    with Translator(bundle) as translate:
        for index in (0, len(before[0]) // 2, len(before[0]) - 1):  # the right pictures, in the right order
            assert psnr(after[0][index], translate(before[0][index])) > 30


def test_frames_look_as_in_pytorch(bundle: Path, zebra_checkpoint: Path, shared_data: Path) -> None:
    """What a user of PyTorch would do by hand, against Translator at the engine's own size."""
    module, _ = load_generator(zebra_checkpoint)
    frame = cv2.resize(read_video(shared_data / "clips" / "book.mkv")[0][20], (256, 256))
    x = torch.from_numpy(frame[:, :, ::-1].copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        y = ((module(x)[0] + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    for precision, floor in (("fp32", 50), (None, 35)):  # what is taken by default may be INT8
        with Translator(bundle, precision=precision) as translate:
            assert psnr(translate(frame), np.ascontiguousarray(y[:, :, ::-1])) > floor


def test_launchers_work_from_a_checkout(root: Path, zebra_checkpoint: Path, tmp_path: Path) -> None:
    for launcher, extra in (("ort.py", []), ("ov.py", ["--precision", "fp32"])):
        command = [sys.executable, str(root / "export" / launcher), str(zebra_checkpoint), *extra]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr
    assert run_i2i("info", tmp_path / "latest_net_G.i2i").stdout.count("runs") == 2


def test_info_reads_a_checkpoint_and_a_bundle(bundle: Path, zebra_checkpoint: Path) -> None:
    about = run_i2i("info", zebra_checkpoint).stdout
    assert "mobile_resnet" in about and "356,867" in about and "1.85 G at 256x256" in about
    assert "356,867" in run_i2i("info", bundle).stdout


def test_user_errors_are_one_line(bundle: Path, shared_data: Path, tmp_path: Path) -> None:
    broken = next((shared_data / "checkpoints" / "broken").iterdir())
    unknown_model = shared_data / "checkpoints" / "foreign" / "encoder_decoder_generator.pth"
    for words in (
        ("export", broken, "-o", tmp_path / "x.i2i"),
        ("export", unknown_model, "-o", tmp_path / "x.i2i"),
        ("info", unknown_model),
        ("run", bundle, tmp_path / "absent.mp4", "-o", tmp_path / "y.mp4"),
        ("run", "nothing", tmp_path, "-o", tmp_path / "y"),
    ):
        done = run_i2i(*words)
        assert done.returncode == 2
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1 and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def read_video(path: Path) -> tuple[list[np.ndarray], float]:
    """All frames that decode, BGR, and the frame rate."""
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        ok, frame = capture.read()
        if not ok:
            return frames, capture.get(cv2.CAP_PROP_FPS)
        frames.append(frame)
