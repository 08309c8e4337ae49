"""The interpreter of Core ML programs: right where PyTorch is right, wrong where the file is wrong."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from i2i_export.canonical import wrap_for_export
from i2i_export.mil import mil_ops
from i2i_export.mil.interpreter import MilEngine
from i2i_export.mil.mil_ops import OPS
from i2i_export.targets.coreml import ImageTranslator
from i2i_sdk.backends.coreml import silence_coremltools
from i2i_sdk.errors import BackendError, ExportError
from i2i_training.networks import GeneratorSpec
from tests.export.conftest import SMALL, make_generator

SIZE = 32
NETWORKS = ("resnet_batch", "resnet_none", "resnet_gray", "unet_instance")  # every operation is in one


class PixelFunction(nn.Module):
    """What is done to an image, 0..255, as a module that can be traced."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, image: Tensor) -> Tensor:
        return self.function(image)


def save_package(
    path: Path, module: nn.Module, size: int = SIZE, *, channels: tuple[int, int] = (3, 3), **options: Any
) -> Path:
    """`module` as a package; options: colors (of both), precision ("FLOAT16", "FLOAT32"), size."""
    with silence_coremltools(), warnings.catch_warnings():
        import coremltools as ct

        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit.trace
        warnings.filterwarnings("ignore", "Converting a tensor to a Python boolean")  # sizes, which are fixed
        warnings.simplefilter("ignore", ResourceWarning)  # of coremltools' temporary folders
        example = torch.zeros(1, channels[0], size, size)
        colors = options.get("colors", ["RGB" if count == 3 else "GRAYSCALE" for count in channels])
        model = ct.convert(
            torch.jit.trace(module.eval(), example),
            inputs=[ct.ImageType(name="image", shape=example.shape, color_layout=ct.colorlayout[colors[0]])],
            outputs=[ct.ImageType(name="translated", color_layout=ct.colorlayout[colors[1]])],
            minimum_deployment_target=ct.target.iOS16,
            compute_precision=ct.precision[options.get("precision", "FLOAT16")],
            skip_model_load=True,
        )
        model.save(str(path))  # type: ignore[union-attr]
    return path


def make_noise(size: int = SIZE, channels: int = 3) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (2, size, size, channels), np.uint8)


def test_every_network_in_fp32_is_pytorchs(tmp_path: Path) -> None:
    """Without FP16 nothing is left that could differ: a single wrong operation would show."""
    used: set[str] = set()
    for name in NETWORKS:
        config = SMALL[name]
        spec = GeneratorSpec(config, "batch_stats" if config.norm == "batch" else "none")
        module = wrap_for_export(make_generator(config), spec)
        size = max(SIZE, config.multiple_of)
        channels = config.in_channels, config.out_channels
        path, translator = tmp_path / f"{name}.mlpackage", ImageTranslator(module.generator)
        package = save_package(path, translator, size, channels=channels, precision="FLOAT32")
        batch = make_noise(size, channels[0])
        with torch.no_grad():
            expected = module(torch.from_numpy(batch)).numpy()
        with MilEngine(package) as engine:
            shapes = tuple((1, size, size, count) for count in channels)
            assert (engine.precision, engine.input_shape, engine.output_shape) == ("fp32", *shapes)
            difference = np.abs(engine.run(batch).astype(int) - expected)
            used |= {step.operation for step in engine._steps}
        assert difference.max() <= 1, name
        assert (difference > 0).mean() < 1e-3, name  # halves that fall to the other side
    elsewhere = {"cast", "constexpr_affine_dequantize", "constexpr_lut_to_dense"}  # FP16 and fewer bits
    assert used == set(OPS) - elsewhere


def test_fp16_overflows_where_a_device_would(tmp_path: Path) -> None:
    image = np.full((1, SIZE, SIZE, 3), 230, np.uint8)  # times 300 is beyond 65504
    for precision, answer in (("FLOAT16", 255), ("FLOAT32", 230)):
        module = PixelFunction(lambda x: ((x * 300).relu() * (1 / 300)).round().clamp(0, 255))
        package = save_package(tmp_path / f"{precision}.mlpackage", module, precision=precision)
        with MilEngine(package) as engine:
            assert (engine.run(image) == answer).all()


def test_colors_are_those_of_the_file(tmp_path: Path) -> None:
    """The program halves its first channel: red, or blue where the file says BGR."""
    factors = torch.tensor([0.5, 1.0, 1.0])[:, None, None]
    module = PixelFunction(lambda x: (x * factors).round().clamp(0, 255))
    batch = make_noise()
    red, blue = (np.rint(batch * np.array(factors)) for factors in ((0.5, 1, 1), (1, 1, 0.5)))
    answers = {("RGB", "RGB"): red, ("BGR", "BGR"): blue, ("BGR", "RGB"): blue[..., ::-1]}
    for colors, answer in answers.items():
        package = save_package(tmp_path / f"{'-'.join(colors)}.mlpackage", module, colors=colors)
        with MilEngine(package) as engine:
            assert (engine.run(batch) == answer).all(), colors


@pytest.mark.parametrize("change", [lambda x: x * 0.5, lambda x: (x * 2).round(), lambda x: x.round() - 1])
def test_what_is_no_pixel_is_refused(change: Callable[[Tensor], Tensor], tmp_path: Path) -> None:
    engine = MilEngine(save_package(tmp_path / "a.mlpackage", PixelFunction(change)))
    with pytest.raises(ExportError, match=r"a\.mlpackage: gives pixels from .* so rounding and clipping"):
        engine.run(np.arange(SIZE * SIZE * 3, dtype=np.uint8).reshape(1, SIZE, SIZE, 3))


def test_an_overflow_is_named(tmp_path: Path) -> None:
    module = PixelFunction(lambda x: (x * 300).relu() - x * 300)  # infinity - infinity
    engine = MilEngine(save_package(tmp_path / "a.mlpackage", module))
    with pytest.raises(ExportError, match=r"a\.mlpackage: values overflow in FP16.* --to ort:fp32"):
        engine.run(np.full((1, SIZE, SIZE, 3), 255, np.uint8))


def test_an_unknown_operation_names_its_layer(tmp_path: Path) -> None:
    package = save_package(tmp_path / "a.mlpackage", PixelFunction(lambda x: torch.sigmoid(x).round()))
    with pytest.raises(ExportError, match=r"operation 'sigmoid' \(fp16\) of layer '\w+'; known: add, cast"):
        MilEngine(package)


def test_a_wrong_operation_names_its_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = PixelFunction(lambda x: x.round().clamp(0, 255))
    module = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), clip)
    engine = MilEngine(save_package(tmp_path / "a.mlpackage", module))
    monkeypatch.setattr(mil_ops, "_read_window", lambda **_: ((0, 0, 0, 0), {}))  # a wrong shape
    with pytest.raises(ExportError, match=r"conv of layer '\w+' gives \(1, 3, 30, 30\), .* declares"):
        engine.run(make_noise())
    monkeypatch.undo()
    engine._constants[engine._steps[1].inputs["pad_type"]] = "same"
    with pytest.raises(ExportError, match=r"cannot check conv of layer '\w+': has pad_type 'same'"):
        engine.run(make_noise())


def test_what_is_no_image_translator_is_refused(tmp_path: Path) -> None:
    with silence_coremltools(), warnings.catch_warnings():
        import coremltools as ct
        from coremltools.converters.mil import Builder

        warnings.simplefilter("ignore", ResourceWarning)

        @Builder.program(input_specs=[Builder.TensorSpec(shape=(1, 3, 4, 4))])  # type: ignore[arg-type]
        def return_numbers(x: Any) -> Any:
            return Builder.relu(x=x)

        model = ct.convert(return_numbers, minimum_deployment_target=ct.target.iOS16, skip_model_load=True)
        model.save(str(tmp_path / "a.mlpackage"))  # type: ignore[union-attr]
    with pytest.raises(BackendError, match=r"one image in and one image out are needed; .* x multiArrayType"):
        MilEngine(tmp_path / "a.mlpackage")


def test_broken_packages_are_named(tmp_path: Path) -> None:
    package = save_package(tmp_path / "a.mlpackage", nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()))
    (weights,) = package.rglob("weight.bin")
    weights.write_bytes(weights.read_bytes()[:70])
    for path in (package, tmp_path / "none.mlpackage"):
        with pytest.raises(ExportError, match=rf"{path.name}: coremltools cannot read it: \S"):
            MilEngine(path)


def test_an_engine_like_the_others(tmp_path: Path) -> None:
    engine = MilEngine(save_package(tmp_path / "a.mlpackage", PixelFunction(lambda x: 255 - x)))
    assert (engine.run(make_noise()) == 255 - make_noise()).all()
    assert engine.provider == f"MIL interpreter, torch {torch.__version__}"
    with pytest.raises(BackendError, match=r"takes \(1, 32, 32, 3\), got \(16, 16, 3\)"):
        engine.run(make_noise(16))
    engine.close()
    with pytest.raises(BackendError, match="this engine is closed"):
        engine.run(make_noise())


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8])
def test_palettes_are_unpacked_as_coremltools_packs_them(bits: int) -> None:
    with silence_coremltools():
        from coremltools.optimize._utils import pack_elements_into_bits

    random = np.random.default_rng(bits)
    shape, palette = (5, 3, 3, 3), random.normal(size=2**bits).astype(np.float32)
    places = random.integers(0, 2**bits, shape).astype(np.uint8)
    packed = pack_elements_into_bits(places, bits)
    dense = OPS["constexpr_lut_to_dense"](packed, torch.from_numpy(palette), np.asarray(shape))
    assert (dense.numpy() == palette[places]).all()
