"""Small trained-looking generators, saved once per session; trained ones, ready to be quantized."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from skimage import data

from i2i_export.canonical import make_example_input, wrap_for_export, write_onnx
from i2i_export.int8.calibrate import open_session
from i2i_export.job import Job
from i2i_export.options import ExportOptions
from i2i_export.passes.conv_transpose import replace_transposed_convolutions
from i2i_export.passes.onnx_graph import make_constant
from i2i_export.pipeline import ExportResult, export
from i2i_export.targets import parse_targets
from i2i_export.verify_variant import make_parity_case
from i2i_sdk.bundle.manifest import Variant
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

FindGraph = Callable[[str], onnx.ModelProto]
DEFAULTS = ExportOptions()
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


def save_network(path: Path, config: GeneratorConfig, **history: Any) -> Path:
    """`make_generator`'s weights; BatchNorm on running statistics."""
    mode = "running_stats" if config.norm == "batch" else "none"
    spec = GeneratorSpec(config, mode, **{"steps": 1, "size": 64, **history})
    return save_generator(path, make_generator(config), spec)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One .safetensors per small network; BatchNorm ones on running statistics."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return {name: save_network(folder / f"{name}.safetensors", config) for name, config in SMALL.items()}


def export_graph(
    checkpoint: Path, side: int, path: Path, *passes: Callable[[torch.nn.Module], object]
) -> onnx.ModelProto:
    """The float graph of a checkpoint, after some passes on its module."""
    module, spec = load_generator(checkpoint)
    ready = wrap_for_export(module, spec)
    for change in passes:
        change(ready)
    write_onnx(ready, make_example_input(spec, side, side, batch=2), path)
    return onnx.load(str(path))


@pytest.fixture(scope="session")
def float_graph(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> FindGraph:
    """float_graph("unet") is that small network at 64x64 as INT8 starts from it; tests must not change it."""
    folder = tmp_path_factory.mktemp("float-graphs")

    @cache
    def find(name: str) -> onnx.ModelProto:
        path = folder / f"{name}.onnx"
        return export_graph(checkpoints[name], 64, path, replace_transposed_convolutions)

    return find


def make_float_model(
    nodes: Sequence[onnx.NodeProto], shape: Sequence[int | str], outputs: Iterable[str], **constants: Any
) -> onnx.ModelProto:
    """A graph of float32 "x" of this shape; constants are floats, but for arrays of whole numbers."""
    tensors: list[onnx.TensorProto] = []
    for name, value in constants.items():
        is_whole = isinstance(value, np.ndarray) and value.dtype.kind == "i"
        tensors.append(make_constant(name, value if is_whole else np.asarray(value, np.float32)))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in outputs]
    graph = helper.make_graph(nodes, "drawn", [x], results, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run_graph(model: onnx.ModelProto, values: NDArray[Any], tensor: str | None = None) -> NDArray[Any]:
    """What the only input becomes: the first output, or a tensor inside."""
    watched = copy.deepcopy(model)
    if tensor is not None and tensor not in {output.name for output in model.graph.output}:
        watched.graph.output.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None))
    session = open_session(watched)
    return np.asarray(session.run(tensor and [tensor], {session.get_inputs()[0].name: values})[0])


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


def link_first_files(count: int, source: Path, folder: Path) -> Path:
    """A folder of links to the first files of another one."""
    folder.mkdir()
    for path in sorted(source.iterdir())[:count]:
        (folder / path.name).symlink_to(path)
    return folder


def make_job(
    checkpoint: Path,
    folder: Path,
    size: tuple[int, int] = (64, 64),
    options: ExportOptions = DEFAULTS,
    part: str = "all",
) -> Job:
    """A job as `export` gives it to a target, but that its graph is not written yet."""
    module, spec = load_generator(checkpoint)
    bundle, scratch = folder / "bundle", folder / "scratch"
    bundle.mkdir(parents=True)
    scratch.mkdir()
    case = make_parity_case(module, spec, options.frames, *size, part=part)
    macs = count_macs(module, *spec.get_input_shape(*size))
    ready, graph = wrap_for_export(module, spec), bundle / "reference.onnx"
    return Job(ready, spec, graph, bundle, scratch, *size, macs, case, options, lambda text: None)


def make_int8_job(checkpoint: Path, folder: Path, frames: Path) -> Job:
    """A job to calibrate on half of the frames, and to compare on the others."""
    job = make_job(checkpoint, folder, options=ExportOptions(frames=frames), part="even")
    write_onnx(job.module, make_example_input(job.spec, 64, 64, batch=2), job.graph)
    return job


@pytest.fixture(scope="session")
def sketch_checkpoint(root: Path) -> Path:
    """The trained pencil."""
    return root / "models" / "sketch" / "latest_net_G.safetensors"


@pytest.fixture(scope="session")
def sketch_export(
    sketch_checkpoint: Path, crops: Path, tmp_path_factory: pytest.TempPathFactory
) -> ExportResult:
    """The trained pencil at 64x96 for every engine there is; tests must not change its bundle."""
    about = {"name": "pencil", "license": "CC0", "trained_on": "drawn shapes"}
    options = ExportOptions(size=(64, 96), frames=crops, **about)
    out = tmp_path_factory.mktemp("every-kind") / "sketch.i2i"
    targets = parse_targets("ort,openvino:fp32,ncnn,web:fp32,web:fp16,coreml,trt", options)
    return export(sketch_checkpoint, [t._replace(required=False) for t in targets], out, options)


def get_variants(exported: ExportResult, backend: str) -> dict[str, Variant]:
    """The variants of a backend by their precision."""
    variants = exported.bundle.manifest.variants
    return {variant.precision: variant for variant in variants if variant.backend == backend}


@pytest.fixture(scope="session")
def zebra_checkpoint(shared_data: Path) -> Path:
    """The real horse-to-zebra generator."""
    return shared_data / "checkpoints" / "gan_compression_horse2zebra" / "latest_net_G.pth"


@pytest.fixture(scope="session")
def sketch_job(sketch_checkpoint: Path, crops: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The trained pencil at 64x64, with 12 frames to calibrate on and 12 others to compare on."""
    return make_int8_job(sketch_checkpoint, tmp_path_factory.mktemp("sketch"), crops)


@pytest.fixture(scope="session")
def zebra_job(zebra_checkpoint: Path, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The real horse-to-zebra generator at 64x64, with 12 photos to calibrate on and 12 others."""
    folder = tmp_path_factory.mktemp("zebra")
    photos = link_first_files(24, shared_data / "photos", folder / "photos")
    return make_int8_job(zebra_checkpoint, folder, photos)
