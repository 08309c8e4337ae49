"""FID and KID with a user's TorchScript file, against their formulas."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from i2i_sdk.errors import TrainingError
from i2i_training.metrics import compute_inception_scores

Image = NDArray[np.uint8]


class _MeansNetwork(nn.Module):
    """Any script: uint8 [N, 3, 299, 299] -> [N, 6], means and contrasts of the channels."""

    def forward(self, images: Tensor) -> Tensor:
        assert images.dtype == torch.uint8 and images.shape[1:] == (3, 299, 299)
        values = images.float() / 255.0
        return torch.cat([values.mean(dim=(2, 3)), values.std(dim=(2, 3))], dim=1)


class _NvidiaNetwork(nn.Module):
    """NVIDIA's calling convention: class scores unless asked for features."""

    def __init__(self) -> None:
        super().__init__()
        self.means = _MeansNetwork()

    def forward(self, img: Tensor, return_features: bool = False, use_fp16: bool = False) -> Tensor:
        features = self.means(img)
        return features if return_features else features.softmax(dim=1)


class _MapsNetwork(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.float()


def _save_script(module: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`torch.jit.script` is", category=DeprecationWarning)
        torch.jit.script(module).save(str(path))
    return path


def _make_images(count: int, seed: int, contrast: int) -> list[Image]:
    random = np.random.default_rng(seed)
    base = random.integers(60, 180, (count, 1, 1, 3))
    noise = random.integers(-contrast, contrast + 1, (count, 299, 299, 3))
    return list(np.clip(base + noise, 0, 255).astype(np.uint8))


def _compute_features(images: list[Image]) -> NDArray[np.float64]:
    values = np.stack(images).astype(np.float64) / 255.0
    return np.concatenate([values.mean(axis=(1, 2)), values.std(axis=(1, 2), ddof=1)], axis=1)


def _compute_fid(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Heusel et al. 2017, equation 6, with the matrix root itself."""
    root = scipy.linalg.sqrtm(np.cov(a.T) @ np.cov(b.T))
    trace = np.trace(np.cov(a.T) + np.cov(b.T) - 2 * np.real(root))
    return float(np.square(a.mean(axis=0) - b.mean(axis=0)).sum() + trace)


@pytest.fixture(scope="module")
def sets() -> tuple[list[Image], list[Image]]:
    return _make_images(20, 0, 20), _make_images(20, 1, 50)


def test_fid_is_that_of_the_formula(tmp_path: Path, sets: tuple[list[Image], list[Image]]) -> None:
    outputs, targets = sets
    scores = compute_inception_scores(outputs, targets, _save_script(_MeansNetwork(), tmp_path / "means.pt"))
    a, b = _compute_features(outputs), _compute_features(targets)
    assert scores["fid"] == pytest.approx(_compute_fid(a, b), rel=1e-4)
    assert scores["fid"] > 0.01 and scores["kid"] > 0.001


def test_nvidias_convention_asks_for_features(tmp_path: Path, sets: tuple[list[Image], list[Image]]) -> None:
    plain = compute_inception_scores(*sets, _save_script(_MeansNetwork(), tmp_path / "means.pt"))
    theirs = compute_inception_scores(*sets, str(_save_script(_NvidiaNetwork(), tmp_path / "nvidia.pt")))
    assert theirs == pytest.approx(plain)


def test_any_size_and_count_without_touching_the_random_state(tmp_path: Path) -> None:
    file = _save_script(_MeansNetwork(), tmp_path / "means.pt")
    small = [image[:64, :48] for image in _make_images(7, 0, 20)]
    gray = [image[:320, :200, :1] for image in _make_images(5, 1, 50)]
    state = torch.get_rng_state()
    first = compute_inception_scores(small, gray, file)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(5)
    assert compute_inception_scores(small, gray, file) == first
    same = compute_inception_scores(small, small, file)
    assert same["fid"] == pytest.approx(0, abs=1e-6) and same["kid"] <= 0


def test_a_missing_file_says_where_to_get_one(tmp_path: Path) -> None:
    images = _make_images(2, 0, 20)
    with pytest.raises(TrainingError, match=r"no such Inception file; download https://nvlabs-fi-cdn"):
        compute_inception_scores(images, images, tmp_path / "missing.pt")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (
            lambda path: path.write_bytes(b"not a model"),
            r"not a readable TorchScript file .*--inception FILE",
        ),
        (lambda path: torch.save({"weight": torch.zeros(2)}, path), "not a readable TorchScript file"),
        (lambda path: _save_script(_MapsNetwork(), path), r"gives \(2, 3, 299, 299\) for 2 images; features"),
        (lambda path: _save_script(nn.Conv2d(3, 4, 1), path), r"cannot take uint8 \[N, 3, 299, 299\]"),
    ],
    ids=["junk", "weights", "maps", "float"],
)
def test_bad_files_are_explained(write: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    write(tmp_path / "net.pt")
    images = _make_images(2, 0, 20)
    with pytest.raises(TrainingError, match=message):
        compute_inception_scores(images, images, tmp_path / "net.pt")
