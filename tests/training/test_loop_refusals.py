"""What cannot work is said before training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import RESNET, TINY, UNET, make_run, train_tiny

from i2i_sdk.errors import TrainingError
from i2i_training.run.run_options import RunOptions

UNET_PIX2PIX = {"generator": "unet", "unet": UNET}


@pytest.mark.parametrize(
    ("name", "options", "changes", "message"),
    [
        ("pix2pix", UNET_PIX2PIX, {"crop_size": 48, "load_size": 48}, "the unet needs multiples of 32"),
        ("pix2pix", {}, {"crop_size": 64}, "crop_size is 64; crops are cut from images of load_size 36"),
        ("cut", {}, {"load_size": None, "crop_size": 44}, "is 40x40 pixels; at least 44x44"),
        ("pix2pix", {"resnet": replace(RESNET, in_channels=1)}, {}, "is 3, but the network takes 1"),
        ("cyclegan", {}, {"channels_b": 1}, "channels_b is 1, but the network gives 3"),
        ("dcgan", {}, {"channels_b": 1}, "channels_b is 1, but the network gives 3"),
        ("pix2pix", {}, {"data": "/nowhere"}, "there is no data set folder /nowhere"),
        ("pix2pix", {}, {"best_by": "beauty"}, "best_by is 'beauty'; .* allowed: auto, l1, psnr, ssim, swd"),
        ("pix2pix", {}, {"best_by": "miou"}, "best_by is 'miou', which need --palette; for these"),
        ("pix2pix", {}, {"best_by": "fid"}, "best_by is 'fid', which need --inception"),
        ("cyclegan", {}, {"best_by": "edge_similarity"}, "best_by is 'edge_sim.*, ssim, swd$"),
        ("dcgan", {}, {"best_by": "l1"}, "best_by is 'l1'; for these images .*: auto, swd$"),
        ("pix2pix", {}, {"palette": "red"}, "palette entry 'red' is no color"),
        ("dcgan", {}, {"palette": "#ff0000"}, "palette is '#ff0000': pixel accuracy needs held-out pairs"),
        ("pix2pix", {}, {"inception": "/nowhere.pt"}, "/nowhere.pt: no such file; download https://"),
    ],
)
def test_what_does_not_fit_is_said_before_training(
    name: str, options: dict[str, Any], changes: dict[str, Any], message: str, pictures: Path, tmp_path: Path
) -> None:
    run = replace(make_run(pictures, tmp_path / "run"), **changes)
    with pytest.raises(TrainingError, match=message):
        train_tiny(run, name, options=replace(TINY[name], **options))
    assert not (tmp_path / "run").exists()


def test_half_precision_without_a_gpu_is_refused_not_replaced(pictures: Path, tmp_path: Path) -> None:
    if torch.accelerator.is_available():
        pytest.skip("has a GPU")
    with pytest.raises(TrainingError, match="16-mixed needs a GPU; here: 32-true, bf16-mixed"):
        train_tiny(make_run(pictures, tmp_path, precision="16-mixed"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps is 0; at least 1"),
        ({"batch": -1}, "batch is -1; at least 1"),
        ({"save_every": 0}, "save_every is 0"),
        ({"log_every": 0}, "log_every is 0"),
        ({"eval_images": 0}, "eval_images is 0"),
        ({"crop_size": 0}, "crop_size is 0; at least 1"),
        ({"jitter": 1.5}, "jitter is 1.5; it is a strength, 0 to 1"),
        ({"noise": -1.0}, "noise is -1.0; at least 0"),
        ({"channels_b": 17}, "channels_b is 17; allowed: 1 to 16"),
        ({"cache_gb": -1.0}, "cache_gb is -1.0; at least 0"),
        ({"minutes": 0.0}, "minutes is 0.0; more than 0, or none"),
        ({"minutes": float("nan")}, "minutes is nan"),
        ({"decay_from": 1.5}, "decay_from is 1.5; it is a share"),
        ({"ema": 1.0}, "ema is 1.0; it is a decay"),
        ({"seed": -1}, "seed is -1; allowed: 0 to"),
        ({"seed": 2**32}, "seed is 4294967296"),
        ({"license": "two\nlines"}, "license is 'two.*; it must be one line"),
        ({"precision": "8-bit"}, "precision is '8-bit'; allowed: 32-true, bf16-mixed"),
    ],
)
def test_options_of_a_run_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        RunOptions(**changes)
