"""FID and KID by torchmetrics, on the features of an Inception network that the user has as a file."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from i2i_sdk.errors import TrainingError
from i2i_training.data.image_tensors import Image, to_rgb

INCEPTION_URL = (
    "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt"
)
_SIDE = 299  # pixels; what Inception v3 was trained on
_BATCH = 16


def compute_inception_scores(
    outputs: Sequence[Image], targets: Sequence[Image], file: str | Path, device: str | torch.device = "cpu"
) -> dict[str, float]:
    """FID (Heusel et al. 2017, equation 6) and KID (Binkowski et al. 2018) of two sets; lower is closer.

    The file is TorchScript: NVIDIA's `inception-2015-12-05.pt` (see `INCEPTION_URL`), called with
    `return_features=True`, or any script that maps uint8 [N, 3, 299, 299] RGB, 0..255, to features
    [N, F]. **Loading TorchScript executes what is in the file: give only files you trust.**

    Images are resized to 299x299 here (area where they shrink, bicubic where they grow), so that NVIDIA's
    file does not resize again. Figures compare only with others made by this function, with the same
    file and as many images: FID falls with their number, and below a few thousand it says little; KID is
    unbiased, so prefer it for the hundreds of images that translation test sets have.

    Args:
        outputs: at least two uint8 images [H, W, 3] RGB (or [H, W, 1]) of any size.
        targets: at least two real images of the target domain; their number may differ.
        file: path of the TorchScript file.
        device: where the network runs.

    Returns:
        "fid" >= 0 and "kid" (the squared MMD itself, not times 1e3; can be slightly negative), equal in
        every run: the global random state is neither used nor changed.

    Raises:
        TrainingError: for a file that is missing, unreadable or does not give features.
    """
    network = _load_network(Path(file), torch.device(device))
    fake, real = (_extract_features(network, x, Path(file), torch.device(device)) for x in (outputs, targets))
    return {"fid": _compute_fid(fake, real), "kid": _compute_kid(fake, real)}


class _PrecomputedFeatures(nn.Module):
    """Stands for the network inside torchmetrics: features were computed once, for both scores."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def _load_network(file: Path, device: torch.device) -> torch.jit.ScriptModule:
    where = f"download {INCEPTION_URL} (for FID as StyleGAN's) and give its path as --inception FILE"
    if not file.is_file():
        raise TrainingError(f"{file}: no such Inception file; {where}")
    try:
        with warnings.catch_warnings():
            # torch deprecates TorchScript as a whole, but the reference network exists in no other form.
            warnings.filterwarnings("ignore", message="`torch.jit.load` is", category=DeprecationWarning)
            network = torch.jit.load(str(file), map_location=device)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise TrainingError(f"{file}: not a readable TorchScript file ({reason}); {where}") from error
    return network.eval()


@torch.no_grad()
def _extract_features(
    network: torch.jit.ScriptModule, images: Sequence[Image], file: Path, device: torch.device
) -> Tensor:
    """float64 [N, F] on the CPU; double, because covariances of 2048 features need it."""
    forward: Any = network.forward  # its type hint does not say that a script's method has a schema
    names = [argument.name for argument in forward.schema.arguments]
    options = {"return_features": True} if "return_features" in names else {}
    parts: list[Tensor] = []
    for start in range(0, len(images), _BATCH):
        batch = np.stack([_resize(image) for image in images[start : start + _BATCH]])
        tensor = torch.from_numpy(batch.transpose(0, 3, 1, 2).copy()).to(device)
        try:
            features = network(tensor, **options)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise TrainingError(f"{file}: cannot take uint8 [N, 3, 299, 299] images: {reason}") from error
        if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != len(batch):
            found = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise TrainingError(
                f"{file}: gives {found} for {len(batch)} images; features [N, F] are needed,"
                f" as {INCEPTION_URL} gives"
            )
        parts.append(features.double().cpu())
    return torch.cat(parts)


def _resize(image: Image) -> Image:
    shrinks = min(image.shape[:2]) >= _SIDE
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(to_rgb(image), (_SIDE, _SIDE), interpolation=how), np.uint8)


def _compute_fid(fake: Tensor, real: Tensor) -> float:
    from torchmetrics.image.fid import FrechetInceptionDistance  # seconds to import, and seldom needed

    metric = FrechetInceptionDistance(feature=_PrecomputedFeatures(fake.shape[1]))
    metric.update(fake, real=False)
    metric.update(real, real=True)
    return max(0.0, float(metric.compute()))  # identical sets may give -1e-12


def _compute_kid(fake: Tensor, real: Tensor) -> float:
    from torchmetrics.image.kid import KernelInceptionDistance

    size = min(1000, len(fake), len(real))
    # A subset that is the whole set, both times, is the same in every repetition.
    subsets = 1 if size == len(fake) == len(real) else 100
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.filterwarnings("ignore", message=".*will save all extracted features")  # so do we
        torch.default_generator.manual_seed(0)  # it draws subsets from the global generator
        metric = KernelInceptionDistance(
            feature=_PrecomputedFeatures(fake.shape[1]), subsets=subsets, subset_size=size
        )
        metric.update(fake, real=False)
        metric.update(real, real=True)
        mean, _ = metric.compute()
    return float(mean)
