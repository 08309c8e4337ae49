"""ONNX files that others made: float, with a convention that only the caller can know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest
from known_bundles import HEIGHT as H
from known_bundles import WIDTH as W
from known_bundles import make_noise, save_affine, save_text
from skimage import data

from i2i_sdk import BackendError, InputError, Translator
from i2i_sdk.backends.external import ExternalContract, from_external, to_external
from i2i_sdk.quality.metrics import psnr

CANDY: dict[str, Any] = {
    "input_range": (0, 255),
    "output_range": (0, 255),
    "layout": "nchw",
    "channel_order": "rgb",
}


# a model that nobody here trained


@pytest.fixture(scope="module")
def candy(shared_data: Path) -> Path:
    return shared_data / "checkpoints" / "fast_neural_style" / "candy_nc16_256.onnx"


def test_a_real_style_model_equals_running_it_by_hand(candy: Path) -> None:
    photo = np.asarray(cv2.resize(data.astronaut(), (256, 256), interpolation=cv2.INTER_AREA), np.uint8)
    session = onnxruntime.InferenceSession(str(candy), providers=["CPUExecutionProvider"])
    values = photo.astype(np.float32).transpose(2, 0, 1)[None]
    output: Any = session.run(None, {session.get_inputs()[0].name: values})[0]
    by_hand = np.clip(np.rint(output[0].transpose(1, 2, 0)), 0, 255).astype(np.uint8)

    with Translator(candy, **CANDY) as translate:
        assert (translate.height, translate.width) == (256, 256)
        styled = translate(photo, "rgb")
        assert (styled == by_hand).all()
    with Translator(candy, **CANDY) as translate:  # OpenCV's order gives the same picture
        assert (translate(photo[..., ::-1]) == by_hand[..., ::-1]).all()
        large = translate(np.asarray(cv2.resize(photo, (640, 480)), np.uint8))
        assert large.shape == (480, 640, 3)
    with Translator(candy, backend="openvino", **CANDY) as translate:
        assert translate.engine.provider == "CPU" and translate.engine.precision == "fp32"
        assert psnr(translate(photo, "rgb"), by_hand) > 45
    assert psnr(photo, by_hand) < 20  # it does paint
    assert by_hand.std() > 30


def test_the_convention_is_not_guessed(tmp_path: Path) -> None:
    graph = save_affine(tmp_path / "x.onnx", [1] * 3, [0] * 3)
    for missing in (*([name] for name in CANDY), list(CANDY)):
        message = r"takes float32 \(1, 3, 24, 40\) in a convention .*give {}\. For example: input_range=\(0"
        with pytest.raises(InputError, match=message.format(", ".join(missing))):
            Translator(graph, **{name: value for name, value in CANDY.items() if name not in missing})


# conventions


@pytest.mark.parametrize("backend", ["ort", "openvino"])
@pytest.mark.parametrize(
    ("input_range", "scale", "offset", "output_range"),
    [
        ((0, 255), -1.0, 255.0, (0, 255)),
        ((0, 1), -1.0, 1.0, (0, 1)),
        ((-1, 1), -1.0, 0.0, (-1, 1)),
        ((0, 1), -2.0, 1.0, (-1, 1)),
        ((-1.0, 1.0), -127.5, 127.5, (0.0, 255.0)),
        ([0, 255], -1 / 255, 1.0, [0, 1]),
        ((np.float32(-0.5), np.float32(0.5)), -1.0, 0.0, (-0.5, 0.5)),
    ],
)
def test_ranges(
    tmp_path: Path, backend: str, input_range: Any, scale: float, offset: float, output_range: Any
) -> None:
    """Each of these graphs inverts, in its own range."""
    graph = save_affine(tmp_path / "x.onnx", [scale] * 3, [offset] * 3)
    image = np.arange(H * W * 3, dtype=np.uint32).astype(np.uint8).reshape(H, W, 3)
    options = CANDY | {"input_range": input_range, "output_range": output_range}
    with Translator(graph, backend=backend, **options) as translate:
        assert (translate(image) == 255 - image).all()


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_layout_and_channel_order(tmp_path: Path, layout: str, order: str, color: str) -> None:
    """The graph changes its first and its second channel, whatever they are called."""
    graph = save_affine(tmp_path / "x.onnx", [0, 1, 1], [7, 1, 0], layout=layout)
    image = make_noise(H, W, 3) // 2
    rgb = image if color == "rgb" else image[..., ::-1]
    own = rgb if order == "rgb" else rgb[..., ::-1]
    own = own.copy()
    own[..., 0], own[..., 1] = 7, own[..., 1] + 1
    rgb = own if order == "rgb" else own[..., ::-1]
    expected = rgb if color == "rgb" else rgb[..., ::-1]
    with Translator(graph, **CANDY | {"layout": layout, "channel_order": order}) as translate:
        assert (translate(image, color) == expected).all()


def test_values_beyond_the_range_are_clipped(tmp_path: Path) -> None:
    graph = save_affine(tmp_path / "x.onnx", [2, 2, 2], [-100] * 3)
    image = make_noise(H, W, 3)
    with Translator(graph, **CANDY) as translate:
        assert (translate(image) == np.clip(image.astype(int) * 2 - 100, 0, 255)).all()


def test_rounding_is_to_the_nearest() -> None:
    values = np.array([0.4, 0.6, 1.49, 254.6, 255.4, -0.4], np.float32).reshape(1, 1, 2, 3)
    rounded = from_external(values, ExternalContract((0, 255), (0, 255), "nhwc", "rgb"))
    assert rounded.ravel().tolist() == [0, 1, 1, 255, 255, 0]


@pytest.mark.parametrize("bounds", [(0.0, 255.0), (0.0, 1.0), (-1.0, 1.0), (-2.1, 2.6)])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_there_and_back_is_exact(bounds: tuple[float, float], layout: str, order: str) -> None:
    batch = np.arange(256 * 3, dtype=np.uint32).astype(np.uint8).reshape(2, 8, 16, 3)
    both = ExternalContract(bounds, bounds, layout, order)
    values = to_external(batch, both)
    assert values.dtype == np.float32 and values.flags.c_contiguous
    assert values.shape == ((2, 3, 8, 16) if layout == "nchw" else (2, 8, 16, 3))
    assert values.min() == pytest.approx(bounds[0]) and values.max() == pytest.approx(bounds[1])
    assert (from_external(values, both) == batch).all()


# sizes and batches


def test_graphs_of_any_size_need_one(tmp_path: Path) -> None:
    graph = save_affine(tmp_path / "x.onnx", [-1] * 3, [255] * 3, size=("h", "w"))
    message = r"takes any size; say which to run at: size=256 or size=\(480, 640\)"
    with pytest.raises(InputError, match=message):
        Translator(graph, **CANDY)
    for size in (32, (16, 48), "20x30"):
        with Translator(graph, size=size, **CANDY) as translate:
            image = make_noise(translate.height, translate.width, 3)
            assert (translate(image) == 255 - image).all()
            assert translate(make_noise(90, 70, 3)).shape == (90, 70, 3)
            translate.warmup()


def test_one_free_side(tmp_path: Path) -> None:
    graph = save_affine(tmp_path / "x.onnx", [-1] * 3, [255] * 3, size=(H, "w"))
    with Translator(graph, size=(H, 64), **CANDY) as translate:
        assert (translate.height, translate.width) == (H, 64)
    with pytest.raises(InputError, match="works at 24x64 only, not at 32x64"):
        Translator(graph, size=(32, 64), **CANDY)


@pytest.mark.parametrize("batch", ["n", 1, 2])
def test_batches(tmp_path: Path, batch: int | str) -> None:
    graph = save_affine(tmp_path / "x.onnx", [-1] * 3, [255] * 3, batch=batch)
    images = [make_noise(H, W, 3, seed=i) for i in range(3)]
    with Translator(graph, **CANDY) as translate:
        assert all((r == 255 - x).all() for r, x in zip(translate.batch(images), images, strict=True))


def test_a_graph_that_fails_at_a_size_says_so(tmp_path: Path) -> None:
    """Two convolutions' shapes that only fit for even sizes, as in any U-Net."""
    text = """(float[1, 3, h, w] x) => (float[1, 3, h, w] y) <float[4] twice = {1, 1, 2, 2}> {
        p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
        u = Resize <mode = "nearest"> (p, , twice)
        y = Add (x, u)
    }"""
    graph = save_text(tmp_path / "x.onnx", text)
    with Translator(graph, size=32, **CANDY) as translate:
        assert translate(make_noise(9, 9, 3)).shape == (9, 9, 3)
    message = r"ONNX Runtime failed on float32 \(1, 3, 33, 33\): "
    with Translator(graph, size=33, **CANDY) as translate, pytest.raises(BackendError, match=message):
        translate(make_noise(9, 9, 3))


# what is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layout": "NCHW"}, "layout is 'NCHW'; allowed: nchw, nhwc"),
        ({"layout": "chw"}, "layout is 'chw'"),
        ({"channel_order": "RGB"}, "channel_order is 'RGB'; allowed: rgb, bgr"),
        ({"input_range": (255, 0)}, r"input_range is \(255, 0\); it is \(black, white\)"),
        ({"output_range": (1, 1)}, r"output_range is \(1, 1\)"),
        ({"input_range": (0, 1, 2)}, r"input_range is \(0, 1, 2\); it is"),
        ({"input_range": 255}, "input_range is 255; it is"),
        ({"input_range": "0,255"}, "input_range is '0,255'; it is"),
        ({"output_range": (float("nan"), 1)}, r"output_range is \(nan, 1\)"),
        ({"output_range": (0, float("inf"))}, r"output_range is \(0, inf\)"),
        ({"output_range": ("black", "white")}, r"output_range is \('black', 'white'\)"),
        (
            {"layout": "nhwc"},
            r"layout is 'nhwc', .* \(1, 3, 24, 40\) has 40 channels.* is its layout 'nchw'\?",
        ),
    ],
)
def test_wrong_values(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    graph = save_affine(tmp_path / "x.onnx", [1] * 3, [0] * 3)
    with pytest.raises(InputError, match=message):
        Translator(graph, **CANDY | changes)


CLASSIFIER = "(float[1, 3, 24, 40] x) => (float[1, 3] y) { y = ReduceMean <axes = [2, 3], keepdims = 0> (x) }"
SAMPLER = "(float[1, 100] z) => (float[1, 100] y) { y = Neg (z) }"


@pytest.mark.parametrize("backend", ["ort", "openvino"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CLASSIFIER, r"the engine gives \(1, 3\) for \(1, 24, 40, 3\)"),
        (SAMPLER, r"takes \(1, 100\); images have 4 dimensions"),
    ],
    ids=["classifier", "sampler"],
)
def test_what_is_no_translator_of_images(tmp_path: Path, backend: str, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Translator(save_text(tmp_path / "x.onnx", text), backend=backend, **CANDY)


def test_results_of_unknown_rank(tmp_path: Path) -> None:
    """A graph that does not say what it gives is judged by what it gives."""
    text = """(float[1, 3, 24, 40] x) => (float y) <int64[1] zero = {0}, int64[1] rest = {-1}> {
        a = Abs (x)  m = ReduceMax <keepdims = 0> (x)  rank = Cast <to = 7> (m)  all = Shape (x)
        end = Unsqueeze (rank, zero)  first = Slice (all, zero, end)
        shape = Concat <axis = 0> (first, rest)  y = Reshape (a, shape)
    }"""
    graph = save_text(tmp_path / "x.onnx", text)
    with Translator(graph, **CANDY) as translate:
        image = np.full((H, W, 3), 3, np.uint8)
        assert (translate(image) == image).all()
        image[:] = 1
        with pytest.raises(BackendError, match=r"the engine gave \(1, 2880\); pictures have 4 dimensions"):
            translate(image)
