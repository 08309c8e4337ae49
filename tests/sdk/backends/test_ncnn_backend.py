"""ncnn: small graphs written by hand whose answers are known, and files that do not add up."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from known_bundles import make_noise
from numpy.typing import NDArray

from i2i_sdk.backends.base import EngineOptions
from i2i_sdk.backends.ncnn.ncnn_engine import NcnnEngine
from i2i_sdk.backends.ncnn.ncnn_files import WEIGHT_FORMATS
from i2i_sdk.errors import BackendError

HEIGHT, WIDTH = 5, 7  # planes of 35 numbers: ncnn pads them to 36, which must not shift the second one
SWAP = np.eye(3, dtype=np.float32)[::-1]  # red and blue
INPUT_LAYER = f"Input in 0 1 in0 0={WIDTH} 1={HEIGHT} 2=3"

Pair = tuple[Path, Path]


def write_model(folder: Path, lines: Sequence[str], weights: bytes = b"", head: str = "7767517") -> Pair:
    """A .param with these layers, and a .bin."""
    param, binary = folder / "x.param", folder / "x.bin"
    param.write_text("\n".join((head, f"{len(lines)} {len(lines)}", *lines)) + "\n")
    binary.write_bytes(weights)
    return param, binary


def encode_weights(kernel: NDArray[np.float32], precision: str) -> bytes:
    """Weights as they stand in a .bin."""
    mark, size = WEIGHT_FORMATS[precision]
    data = kernel.astype(np.float16 if size == 2 else np.float32).tobytes()
    return mark.to_bytes(4, "little") + data + bytes(-len(data) % 4)


def write_mixer(folder: Path, kernel: NDArray[np.float32] = SWAP, precision: str = "fp32") -> Pair:
    """The graph that mixes channels with `kernel`, [channels out, channels in], and adds 1 to each."""
    out_channels, in_channels = kernel.shape
    layers = [
        f"Input in 0 1 in0 0={WIDTH} 1={HEIGHT} 2={in_channels}",
        f"Convolution mix 1 1 in0 out0 0={out_channels} 1=1 5=1 6={kernel.size}",
    ]
    weights = encode_weights(kernel, precision) + np.ones(out_channels, np.float32).tobytes()
    return write_model(folder, layers, weights)


def make_pixels(seed: int = 0, channels: int = 3) -> NDArray[np.uint8]:
    return make_noise(1, HEIGHT, WIDTH, channels, seed=seed) // 2


@pytest.mark.parametrize("precision", WEIGHT_FORMATS)
def test_known_answers_in_both_precisions(precision: str, tmp_path: Path) -> None:
    options = EngineOptions(provider="cpu")  # what Translator(device="cpu") gives it
    with NcnnEngine(write_mixer(tmp_path, precision=precision), precision, options) as engine:
        batch = make_pixels()
        batch.flags.writeable = False
        result = engine.run(batch)
        engine.run(make_pixels(seed=1))  # does not change the first result
        assert (result == make_pixels()[..., ::-1] + 1).all()
        assert result.flags.writeable and result.flags.c_contiguous
        assert engine.input_shape == engine.output_shape == (1, HEIGHT, WIDTH, 3)
        assert (engine.input_dtype, engine.output_dtype) == ("uint8", "uint8")
        assert (engine.precision, engine.provider) == (precision, "CPU")


@pytest.mark.parametrize(("in_channels", "out_channels"), [(1, 1), (1, 3), (3, 1)])
def test_gray_images(in_channels: int, out_channels: int, tmp_path: Path) -> None:
    kernel = np.zeros((out_channels, in_channels), np.float32)
    kernel[:, 0] = 1
    with NcnnEngine(write_mixer(tmp_path, kernel), "fp32") as engine:
        output = engine.run(make_pixels(channels=in_channels))
        assert engine.output_shape == output.shape == (1, HEIGHT, WIDTH, out_channels)
        assert (output == make_pixels(channels=in_channels)[..., :1] + 1).all()


# what it computes in


def test_nothing_computes_in_less_than_fp32(tmp_path: Path) -> None:
    """All that ncnn knows of 16 bits is off, also what a newer version may add."""
    import ncnn

    half = [name for name in dir(ncnn.Option) if "fp16" in name or "bf16" in name]
    assert len(half) >= 5 and any(getattr(ncnn.Net().opt, name) for name in half)
    with NcnnEngine(write_mixer(tmp_path), "fp32") as engine:
        assert not [name for name in (*half, "use_vulkan_compute") if getattr(engine._native.opt, name)]


def test_another_storage_than_asked_for_is_an_error(tmp_path: Path) -> None:
    for held, asked in (("fp16", "fp32"), ("fp32", "fp16")):
        with pytest.raises(BackendError, match=f"asked for {asked} weights, it holds {held}"):
            NcnnEngine(write_mixer(tmp_path, precision=held), asked)


def test_mixed_storage_is_neither(tmp_path: Path) -> None:
    layers = [f"Convolution c{a} 1 1 {a} {b} 0=3 1=1 5=0 6=9" for a, b in (("in0", 1), (1, "out0"))]
    files = write_model(
        tmp_path, [INPUT_LAYER, *layers], encode_weights(SWAP, "fp16") + encode_weights(SWAP, "fp32")
    )
    for precision in WEIGHT_FORMATS:
        with pytest.raises(BackendError, match="it holds fp16 and fp32"):
            NcnnEngine(files, precision)


def test_threads_and_provider(tmp_path: Path) -> None:
    with NcnnEngine(write_mixer(tmp_path), "fp32", EngineOptions(threads=1)) as engine:
        assert engine._native.opt.num_threads == 1
    with pytest.raises(BackendError, match="ncnn has no provider 'cuda' here; allowed: cpu"):
        NcnnEngine(write_mixer(tmp_path), "fp32", EngineOptions(provider="cuda"))


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert NcnnEngine.explain_unsupported("fp32") is None and NcnnEngine.explain_unsupported("fp16") is None
    assert NcnnEngine.explain_unsupported("int8") == "ncnn's files hold fp32 or fp16 weights, not int8"
    monkeypatch.setitem(sys.modules, "ncnn", None)
    assert NcnnEngine.explain_unsupported("fp32") == "the package is missing: pip install 'i2i-sdk[ncnn]'"


def test_a_package_that_does_not_load_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ncnn.py").write_text("raise ImportError('libgomp.so.1: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ncnn", raising=False)
    reason = NcnnEngine.explain_unsupported("fp32")
    message = "the package ncnn is installed but does not load: libgomp"
    assert reason is not None and reason.startswith(message)


# files that do not add up

MIX_LAYER = "Convolution mix 1 1 in0 out0 0=3 1=1 5=0 6=9"
SWAP_WEIGHTS = encode_weights(SWAP, "fp32")
NOT_WHOLE, NO_INPUT = r"x\.param: .*not a whole \.param", "one input of a known size"


@pytest.mark.parametrize(
    ("layers", "weights", "message"),
    [
        ([INPUT_LAYER, MIX_LAYER], b"", r"x\.bin: ncnn cannot load it: 0 bytes, its \.param needs 40"),
        ([INPUT_LAYER, MIX_LAYER], SWAP_WEIGHTS[:-1], r"39 bytes, its \.param needs 40"),
        ([INPUT_LAYER, MIX_LAYER], SWAP_WEIGHTS + b"\0\0\0\0", r"44 bytes, its \.param needs 40"),
        ([INPUT_LAYER, MIX_LAYER], b"\xff" * 40, "weights of mix are stored in a way not known here"),
        ([INPUT_LAYER, MIX_LAYER.replace("6=9", "6=-9")], SWAP_WEIGHTS, "layer mix: its option 6 is '-9'"),
        ([INPUT_LAYER, MIX_LAYER.replace("1 1 in0", "x 1 in0")], SWAP_WEIGHTS, NOT_WHOLE),
        ([INPUT_LAYER, "Convolution"], SWAP_WEIGHTS, NOT_WHOLE),
        ([INPUT_LAYER, MIX_LAYER.replace("6=9", "9")], SWAP_WEIGHTS, NOT_WHOLE),
        ([INPUT_LAYER, "torch.fft.fft2 f_7 1 1 in0 out0"], b"", r"not known .*: torch\.fft\.fft2 \(f_7\)"),
        (["Input in 0 1 in0", MIX_LAYER], SWAP_WEIGHTS, NO_INPUT),
        ([INPUT_LAYER.replace("2=3", "2=2"), MIX_LAYER], SWAP_WEIGHTS, "with 1 or 3 channels is needed"),
        ([INPUT_LAYER.replace("0=7", "0=99999"), MIX_LAYER], SWAP_WEIGHTS, NO_INPUT),
        ([INPUT_LAYER, INPUT_LAYER.replace("in0", "in1"), MIX_LAYER], SWAP_WEIGHTS, NO_INPUT),
        ([INPUT_LAYER, MIX_LAYER.replace("out0", "other")], SWAP_WEIGHTS, "ncnn failed on uint8"),
        ([INPUT_LAYER, MIX_LAYER.replace("1=1", "1=3")], SWAP_WEIGHTS, "ncnn cannot load it|ncnn failed"),
    ],
)
def test_damaged_files(layers: list[str], weights: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=message) as caught:
        NcnnEngine(write_model(tmp_path, layers, weights), "fp32")
    assert len(str(caught.value).splitlines()) == 1


def test_files_cut_anywhere(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One error each, and nothing from ncnn itself, which would print or crash."""
    param, weights = write_mixer(tmp_path)
    whole = {path: path.read_bytes() for path in (param, weights)}
    for path, data in whole.items():
        for length in range(0, len(data) - 1, 3):
            path.write_bytes(data[:length])
            with pytest.raises(BackendError):
                NcnnEngine((param, weights), "fp32")
        path.write_bytes(data)
    assert NcnnEngine((param, weights), "fp32").run(make_pixels()).shape == (1, HEIGHT, WIDTH, 3)
    assert capfd.readouterr() == ("", "")


def test_files_that_are_none(tmp_path: Path) -> None:
    param, weights = write_mixer(tmp_path)
    graph = tmp_path / "x.onnx"
    for files in ((graph,), (weights, param), (param,)):
        with pytest.raises(BackendError, match=r"cannot load it: it takes a \.param and its \.bin"):
            NcnnEngine(files, "fp32")
    weights.unlink()
    with pytest.raises(BackendError, match=r"x\.bin: ncnn cannot load it"):
        NcnnEngine((param, weights), "fp32")
    with pytest.raises(BackendError, match=r"x\.param: ncnn cannot load it"):
        NcnnEngine((write_model(tmp_path, [INPUT_LAYER], head="1")[0], weights), "fp32")
