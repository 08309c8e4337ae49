"""What INT8 is calibrated on: frames or latents that nothing is judged by, known by their hash."""

from __future__ import annotations

import hashlib
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from i2i_export.int8.builder import _compute_sha256, read_calibration_inputs, write_graph
from i2i_export.job import Job
from i2i_export.options import ExportOptions
from i2i_export.pipeline import ExportResult
from i2i_sdk import ExportError
from tests.export.conftest import get_variants


def test_calibration_frames_are_not_those_of_the_comparison(sketch_job: Job) -> None:
    calibrated = {frame.tobytes() for frame in read_calibration_inputs(sketch_job)}
    judged = {frame.tobytes() for frame in sketch_job.parity_case.inputs.arrays}
    assert len(calibrated) == len(judged) == 12
    assert not calibrated & judged


def test_calibration_from_a_folder_of_its_own(sketch_job: Job, crops: Path, tmp_path: Path) -> None:
    """All of it is taken, and of the other folder nothing."""
    for index in range(5):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((20, 20, 3), 50 * index, np.uint8))
    job = replace(sketch_job, options=ExportOptions(frames=crops, calibration=tmp_path))
    assert [int(frame.mean()) for frame in read_calibration_inputs(job)] == [0, 50, 100, 150, 200]


def test_without_frames_there_is_nothing_to_calibrate_on(sketch_job: Job) -> None:
    job = replace(sketch_job, options=ExportOptions())
    message = (
        r"int8 needs real frames to calibrate on: --frames FOLDER_OR_VIDEO with 64 images or more .* never "
        r"random ones \(.* calibrates, at most 128; .* at most 32 are compared\), or --calibration "
        r"FOLDER_OR_VIDEO with 32 or more"
    )
    with pytest.raises(ExportError, match=message):
        write_graph(job, "ort")


def test_one_frame_is_too_few_to_split(sketch_job: Job, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "only.png"), np.zeros((20, 20, 3), np.uint8))
    job = replace(sketch_job, options=ExportOptions(frames=tmp_path))
    with pytest.raises(ExportError, match=r"int8: .*too few images"):
        write_graph(job, "ort")


def test_few_frames_are_warned_of_and_known_by_their_hash(
    sketch_job: Job, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "only.png"), picture[:, :, ::-1])
    options = ExportOptions(calibration=tmp_path, min_psnr=1.0)
    job = replace(sketch_job, options=options, scratch=tmp_path)
    with caplog.at_level(logging.WARNING, "i2i_export"):
        found = write_graph(job, "openvino")
    assert "calibrated on 1 frames; fewer than 32 may miss what your camera shows" in caplog.text
    assert found.calibration_sha256 == hashlib.sha256(picture.tobytes()).hexdigest()


def test_the_hash_is_of_the_frames_in_their_order(sketch_job: Job, crops: Path, tmp_path: Path) -> None:
    frames = read_calibration_inputs(sketch_job)
    expected = _compute_sha256(frames)
    assert _compute_sha256(read_calibration_inputs(sketch_job)) == expected
    assert _compute_sha256(frames[::-1]) != expected and _compute_sha256(frames[1:]) != expected
    copied = tmp_path / "elsewhere"
    shutil.copytree(crops, copied)
    options = ExportOptions(frames=copied)
    assert _compute_sha256(read_calibration_inputs(replace(sketch_job, options=options))) == expected
    first, *_, last = sorted(copied.iterdir())
    shutil.copyfile(first, last)
    assert _compute_sha256(read_calibration_inputs(replace(sketch_job, options=options))) != expected


def test_a_bundle_says_what_was_calibrated_on(sketch_export: ExportResult) -> None:
    variants = get_variants(sketch_export, "ort")
    quantized, exact = variants["int8"], variants["fp32"]
    assert quantized.parity is not None and exact.parity is not None
    assert quantized.parity.frames == exact.parity.frames == 12  # the others were calibrated on
    assert quantized.calibration_sha256 is not None and exact.calibration_sha256 is None
    assert quantized.precision_found == "int8" and quantized.verified == "device"
    assert quantized.macs_in_precision == 1
