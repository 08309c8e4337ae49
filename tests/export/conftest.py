"""Small trained-looking generators, saved once per session; trained ones, ready to be quantized."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import onnx
import pytest
import torch
from skimage import data

from i2i_export.canonical import make_example_input, wrap_for_export, write_onnx
from i2i_export.job import Job
from i2i_export.options import ExportOptions
from i2i_export.passes import replace_transposed_convolutions
from i2i_export.verify_variant import make_parity_case
from i2i_sdk.bundle.manifest import MAX_BATCH
from i2i_sdk.quality.eval_frames import BUILTIN_PHOTOS
from i2i_training.checkpoint import load_generator, save_generator
from i2i_training.networks import (
    GeneratorConfig,
    GeneratorSpec,
    MobileResnetConfig,
    ResnetConfig,
    UnetConfig,
    build_generator,
    count_macs,
    initialize_weights,
)

SMALL: dict[str, GeneratorConfig] = {
    "resnet": ResnetConfig(width=8, blocks=2),
    "resnet_batch": ResnetConfig(width=8, blocks=2, norm="batch", upsample="bilinear"),
    "resnet_none": ResnetConfig(width=8, blocks=2, norm="none", padding="zero", upsample="nearest"),
    "resnet_gray": ResnetConfig(width=8, blocks=1, in_channels=1, out_channels=3, padding="replicate"),
    "mobile": MobileResnetConfig(down=(8, 12, 16), inner=(8, 20), up=(12, 8), norm="batch"),
    "unet": UnetConfig(width=8, downs=5),
    "unet_instance": UnetConfig(width=8, downs=6, norm="instance"),
}


def make_generator(config: GeneratorConfig) -> torch.nn.Module:
    """Weights with structure: kaiming, and BatchNorm statistics that are far from 0 and 1."""
    torch.manual_seed(0)
    module = initialize_weights(build_generator(config), "kaiming")
    for name, value in module.state_dict().items():
        if name.endswith("running_mean"):
            value.normal_(0.0, 0.5)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 2.0)
        elif value.dim() == 1 and value.is_floating_point():
            value.add_(0.1 * torch.randn_like(value))
    return module


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One .safetensors per small network; BatchNorm ones on running statistics."""
    folder = tmp_path_factory.mktemp("checkpoints")
    paths: dict[str, Path] = {}
    for name, config in SMALL.items():
        spec = GeneratorSpec(config, norm_mode="running_stats" if config.norm == "batch" else "none", steps=1)
        paths[name] = save_generator(
            folder / f"{name}.safetensors", make_generator(config), replace(spec, size=64)
        )
    return paths


@pytest.fixture(scope="session")
def float_graph(
    checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], onnx.ModelProto]:
    """float_graph("unet") is that small network at 64x64 as INT8 starts from it; tests must not change it."""
    folder = tmp_path_factory.mktemp("float-graphs")

    @cache
    def find(name: str) -> onnx.ModelProto:
        module, spec = load_generator(checkpoints[name])
        ready = wrap_for_export(module, spec)
        replace_transposed_convolutions(ready)
        write_onnx(ready, make_example_input(spec, 64, 64, batch=2), folder / f"{name}.onnx")
        return onnx.load(str(folder / f"{name}.onnx"))

    return find


@pytest.fixture(scope="session")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 24 pictures of 128x128: the four quarters of each of scikit-image's photos."""
    folder = tmp_path_factory.mktemp("crops")
    for name in BUILTIN_PHOTOS:
        photo = cv2.resize(getattr(data, name)()[:, :, 2::-1], (256, 256), interpolation=cv2.INTER_AREA)
        for quarter in range(4):
            top, left = divmod(quarter, 2)
            part = photo[128 * top : 128 * top + 128, 128 * left : 128 * left + 128]
            cv2.imwrite(str(folder / f"{name}{quarter}.png"), part)
    return folder


def make_job(checkpoint: Path, folder: Path, side: int, options: ExportOptions) -> Job:
    """A job as `export` gives it to a target that calibrates."""
    module, spec = load_generator(checkpoint)
    bundle, scratch = folder / "bundle", folder / "scratch"
    bundle.mkdir(parents=True)
    scratch.mkdir()
    part = "all" if options.calibration else "even"
    trial = make_parity_case(module, spec, options.frames, side, side, part=part)
    ready = wrap_for_export(module, spec)
    graph = bundle / "reference.onnx"
    write_onnx(ready, make_example_input(spec, side, side, batch=2), graph)
    macs = count_macs(module, *spec.get_input_shape(side, side))
    return Job(
        ready, spec, graph, bundle, scratch, side, side, MAX_BATCH, macs, trial, options, lambda text: None
    )


@pytest.fixture(scope="session")
def sketch_job(root: Path, crops: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The trained pencil at 64x64, with 12 frames to calibrate on and 12 others to compare on."""
    checkpoint = root / "models" / "sketch" / "latest_net_G.safetensors"
    return make_job(checkpoint, tmp_path_factory.mktemp("sketch"), 64, ExportOptions(frames=crops))


@pytest.fixture(scope="session")
def zebra_job(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The real horse-to-zebra generator at 64x64, with 12 photos to calibrate on and 12 others."""
    folder = tmp_path_factory.mktemp("zebra")
    (folder / "photos").mkdir()
    for path in sorted((shared_data / "photos").iterdir())[:24]:
        (folder / "photos" / path.name).symlink_to(path)
    checkpoint = shared_data / "checkpoints" / "gan_compression_horse2zebra" / "latest_net_G.pth"
    return make_job(checkpoint, folder, 64, ExportOptions(frames=folder / "photos"))
