"""Opening a Translator: options, sources, and graphs that are not what they claim to be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from known_bundles import HEIGHT, WIDTH, FindBundle, edit_manifest, make_noise, save_text

from i2i_sdk import BackendError, I2IError, InputError, Translator
from i2i_sdk.backends.ort.providers import PROVIDERS, list_available
from i2i_sdk.selection import parse_size

# options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fit": "stretch"}, "fit is 'stretch'; allowed: resize, letterbox, crop, pad"),
        ({"threads": 0}, "threads is 0; allowed: 1 or more"),
        ({"backend": "cuda"}, "no variant for backend=cuda.*ort-fp32-24x40, openvino-fp32-24x40"),
        ({"precision": "int8"}, "no variant for .*precision=int8.*the bundle has: ort-fp32"),
        ({"size": 256}, "size=256x256; the bundle has: ort-fp32-24x40"),
        ({"size": "big"}, "size is 'big'; allowed: 256"),
        ({"max_ms": 0}, "max_ms is 0; allowed: a number of milliseconds above 0"),
        ({"max_ms": True}, "max_ms is True"),
        ({"max_ms": float("nan")}, "max_ms is nan"),
        ({"max_ms": 20}, "max_ms=20: none of .* was measured on this device"),
        ({"max_ms": 20, "provider": "cpu"}, "max_ms chooses by what `i2i tune` measured, without a provider"),
        ({"provider": "CUDA"}, "provider is 'CUDA'; known: cpu, cuda, tensorrt-rtx, coreml"),
        ({"device": "CUDA"}, "device is 'CUDA'; allowed: auto, cpu, cuda, gpu, npu, coreml, directml"),
        (
            {"device": "cuda", "backend": "openvino"},
            "device='cuda' excludes backend='openvino': cuda is served by trt, torch-trt, ort; leave one",
        ),
        (
            {"device": "cuda", "provider": "cpu"},
            "device='cuda' excludes provider='cpu': for cuda the providers of ort are: cuda, tensorrt-rtx; ",
        ),
        ({"device": "cpu", "provider": "cuda"}, "for cpu the providers of ort are: cpu, xnnpack; leave one"),
        ({"device": "cuda", "backend": "trt", "provider": "cuda"}, "the providers of trt are: none; leave"),
        (
            {"device": "npu", "precision": "bf16"},
            r"no variant for device=npu \(coreml, ort\), .*bf16.*has: ort-fp32-24x40, openvino-fp32-24x40",
        ),
        ({"device": "cpu", "max_ms": 20}, "max_ms=20: none of .* was measured.* first run: i2i tune"),
        ({"input_range": (0, 255)}, "input_range: only for foreign ONNX files; a bundle says this itself"),
        ({"layout": "nchw", "channel_order": "rgb"}, "layout, channel_order: only for foreign"),
    ],
)
def test_options_that_are_refused(known: FindBundle, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Translator(known("invert"), **options)


@pytest.mark.parametrize(
    ("size", "parsed"),
    [
        (256, (256, 256)),
        ((480, 640), (480, 640)),
        ([480, 640], (480, 640)),
        ("256", (256, 256)),
        ("480x640", (480, 640)),
        (np.int64(64), (64, 64)),
        ((np.uint16(24), np.int32(40)), (24, 40)),
        (1, (1, 1)),
        (16384, (16384, 16384)),
    ],
)
def test_sizes(size: Any, parsed: tuple[int, int]) -> None:
    result = parse_size(size)
    assert result == parsed and all(type(side) is int for side in result)


@pytest.mark.parametrize(
    "size",
    [
        *("", "x", "480x", "x640", "480x640x3", "480 x 640", "-1", "1e3", "٢٥٦", "big"),
        *(0, -5, 16385, (0, 5), (5, 99999), 2.5, 256.0, (1, 2, 3), (1,), (), (1.5, 2), None, {}, np.zeros(2)),
        pytest.param("9" * 5000, id="more digits than Python converts"),
    ],
)
def test_sizes_that_are_refused(size: Any) -> None:
    with pytest.raises(InputError, match=r"size is .*(allowed: 256|from 1 to 16384)"):
        parse_size(size)


# sources


def test_paths_as_text_and_as_path(known: FindBundle, tmp_path: Path) -> None:
    class Somewhere:
        def __fspath__(self) -> str:
            return str(known("invert"))

    for source in (known("invert"), str(known("invert")), Somewhere(), f"{known('invert')}/"):
        with Translator(source) as translate:
            assert translate.bundle is not None and translate.bundle.manifest.model.name == "invert"


@pytest.mark.parametrize("name", ["scetch", "Sketch", "nowhere.i2i", "a/b/c.onnx"])
def test_unknown_names_list_the_zoo(name: str) -> None:
    with pytest.raises(InputError, match=rf"{name}: no such bundle, and not in the zoo \(sketch"):
        Translator(name)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_checkpoints_say_what_to_run(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"latest_net_G{suffix}"
    file.write_bytes(b"")
    with pytest.raises(InputError, match=rf"is a checkpoint.*i2i export .*latest_net_G\{suffix}"):
        Translator(file)


def test_other_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"photo\.jpg: a bundle \(\.i2i\), an \.onnx file or a zoo name"):
        Translator(tmp_path / "photo.jpg")
    with pytest.raises(I2IError, match="not a bundle"):
        Translator(tmp_path)


def test_variants_that_lie_about_their_size_are_refused(folder: Path) -> None:
    edit_manifest(folder, lambda data: [variant.update(height=48) for variant in data["variants"]])
    with pytest.raises(InputError, match="the engine works at 24x40 only, not at 48x40"):
        Translator(folder)


def test_variants_of_newer_versions_are_passed_over(folder: Path) -> None:
    edit_manifest(folder, lambda data: data["variants"][0].update(name="new", backend="quantum"))
    with Translator(folder) as translate:
        assert translate.variant is not None and translate.variant.name != "new"
    with pytest.raises(BackendError, match="new: backend 'quantum' is not known to this version"):
        Translator(folder, backend="quantum")


@pytest.mark.parametrize("backend", ["ort", "openvino"])
@pytest.mark.parametrize(
    "shape", [[1, 48, 80, 3], [1, 12, 20, 3], [1, HEIGHT, WIDTH, 2], [1, HEIGHT * WIDTH * 3]]
)
def test_graphs_that_give_something_else_are_refused(tmp_path: Path, backend: str, shape: list[int]) -> None:
    """A picture of another size would be cut in silence: half of it shown at twice the scale."""
    count = int(np.prod(shape))
    copies = ", ".join(["x"] * -(-count // (HEIGHT * WIDTH * 3)))
    sides = ", ".join(map(str, shape))
    text = f"""(uint8[1, 24, 40, 3] x) => (uint8[{sides}] y) <
        int64[1] flat = {{-1}}, int64[1] from = {{0}}, int64[1] to = {{{count}}},
        int64[{len(shape)}] shape = {{{sides}}}
    > {{
        c = Concat <axis = 0> ({copies})  f = Reshape (c, flat)  s = Slice (f, from, to)
        y = Reshape (s, shape)
    }}"""
    graph = save_text(tmp_path / "x.onnx", text)
    message = r"the engine gives \(1, .*a translator gives pictures of the size it"
    with pytest.raises(InputError, match=message):
        Translator(graph, backend=backend)


@pytest.mark.parametrize("backend", ["ort", "openvino"])
def test_sizes_that_only_running_shows(tmp_path: Path, backend: str) -> None:
    """A graph that keeps as many rows as its brightest value says."""
    text = """(uint8[n, 24, 40, 3] x) => (uint8[n, h, w, 3] y)
    <int64[1] zero = {0}, int64[1] axes = {1}> {
        f = Cast <to = 1> (x)  m = ReduceMax <keepdims = 0> (f)  i = Cast <to = 7> (m)
        to = Unsqueeze (i, zero)  y = Slice (x, zero, to, axes)
    }"""
    graph = save_text(tmp_path / "x.onnx", text)
    with Translator(graph, backend=backend) as translate:
        whole = np.full((HEIGHT, WIDTH, 3), HEIGHT, np.uint8)
        assert (translate(whole) == whole).all()
        message = r"gave \(1, 12, 40, 3\) for \(1, 24, 40, 3\); a translator gives"
        with pytest.raises(BackendError, match=message):
            translate(whole // 2)


def test_float_results_of_uint8_graphs_are_refused(tmp_path: Path) -> None:
    text = "(uint8[n, 24, 40, 3] x) => (float[n, 24, 40, 3] y) { y = Cast <to = 1> (x) }"
    graph = save_text(tmp_path / "x.onnx", text)
    with pytest.raises(InputError, match="takes uint8 and gives float32; pictures are uint8 on both sides"):
        Translator(graph)


def test_own_graphs_run_without_a_bundle(known: FindBundle) -> None:
    graph, image = known("swap") / "reference.onnx", make_noise(HEIGHT, WIDTH, 3)
    with Translator(graph, size=(HEIGHT, WIDTH)) as translate:
        assert translate.bundle is None and translate.variant is None
        assert (translate(image) == image[..., ::-1]).all()
        assert "fp32" in repr(translate)
    for error, options, message in (
        (InputError, {"size": 256}, "the engine works at 24x40 only, not at 256x256"),
        (InputError, {"layout": "nhwc"}, "takes uint8 pictures, so layout cannot be chosen"),
        (BackendError, {"precision": "bf16"}, r"ort cannot run it here: .*no bf16"),
        (BackendError, {"backend": "cuda"}, "'cuda' is not known"),
        (InputError, {"max_ms": 20}, "max_ms chooses among the variants of a bundle"),
    ):
        with pytest.raises(error, match=message):
            Translator(graph, **options)  # type: ignore[arg-type]
    with Translator(graph, provider="cpu") as translate:
        assert translate.engine.provider == "CPUExecutionProvider"


# providers


def test_a_provider_means_onnx_runtime(known: FindBundle) -> None:
    with Translator(known("invert")) as translate, Translator(known("invert"), provider="cpu") as other:
        assert translate.variant is not None and other.variant is not None
        assert other.variant.backend == "ort" and other.engine.provider == "CPUExecutionProvider"
        assert translate.variant.backend == "openvino"


def test_a_provider_that_is_not_here_is_refused(known: FindBundle) -> None:
    absent = [name for name in PROVIDERS if name not in list_available()]
    assert absent
    for name in absent:
        message = f"ort-fp32-24x40: (provider {name} |.* on {name} has no fp32)"
        with pytest.raises(BackendError, match=message):
            Translator(known("invert"), provider=name)
