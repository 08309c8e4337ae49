"""TensorRT at run time: what is loaded, built or refused, decided without a GPU; a run where there is one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from known_bundles import HEIGHT, WIDTH, make_noise
from trt_graphs import save_swap, swap_red_and_blue

from i2i_sdk.backends.tensorrt import cuda, trt_engine
from i2i_sdk.backends.tensorrt.builder import build_engine
from i2i_sdk.backends.tensorrt.cuda import Device
from i2i_sdk.backends.tensorrt.flavors import (
    FLAVORS,
    EngineFile,
    Flavor,
    Library,
    find_installed,
    format_engine_name,
)
from i2i_sdk.backends.tensorrt.load_or_build import explain_unusable, locate_cached_engine, plan_engine
from i2i_sdk.backends.tensorrt.trt_engine import TrtEngine, build_for_device
from i2i_sdk.errors import BackendError

pytest.importorskip("tensorrt_rtx", reason="needs the extra tensorrt-rtx")

FLAVOR_BY_NAME = {(f.name, f.major): f for f in FLAVORS}
RTX = Library(FLAVOR_BY_NAME["rtx", 1], "1.7.1", ("7.5", "8.6", "8.9", "12.0"))
TENSORRT = Library(FLAVOR_BY_NAME["tensorrt", 11], "11.4.0")
JETPACK = Library(FLAVOR_BY_NAME["tensorrt", 10], "10.3.0")
GEFORCE, TURING = Device("GeForce", "8.6"), Device("Old", "7.5")
ORIN, HOPPER = Device("Orin", "8.7"), Device("H100", "9.0")
PORTABLE = EngineFile(Path("portable"), "rtx", "1.7.1", ("8.6", "8.9", "12.0"))
OLD = EngineFile(Path("old"), "rtx", "1.7.1", ("7.5",))
EARLIER = EngineFile(Path("earlier"), "rtx", "1.6.0", ("8.6",))
CLASSIC = EngineFile(Path("classic"), "tensorrt", "11.4.0", ("9.0",))
ENGINES = (EARLIER, PORTABLE, OLD, CLASSIC)

needs_none = pytest.mark.skipif(cuda.explain_missing_cuda() is None, reason="there is a CUDA device")
needs_gpu = pytest.mark.skipif(cuda.explain_missing_cuda() is not None, reason="no CUDA device")


@pytest.mark.parametrize(
    ("engines", "libraries", "device", "loaded", "library"),
    [
        (ENGINES, (RTX,), GEFORCE, PORTABLE, RTX),
        (ENGINES, (RTX,), TURING, OLD, RTX),
        (ENGINES, (TENSORRT, RTX), GEFORCE, PORTABLE, RTX),  # one that is there before one to be built
        (ENGINES, (TENSORRT,), HOPPER, CLASSIC, TENSORRT),
        (ENGINES, (TENSORRT, RTX), HOPPER, CLASSIC, TENSORRT),
        ((EARLIER,), (RTX,), GEFORCE, None, RTX),  # another version
        ((OLD,), (RTX,), GEFORCE, None, RTX),  # another GPU
        ((PORTABLE, OLD), (JETPACK,), ORIN, None, JETPACK),
        ((PORTABLE,), (TENSORRT, RTX), HOPPER, None, TENSORRT),
        ((), (RTX,), GEFORCE, None, RTX),
    ],
)
def test_an_engine_of_the_bundle_is_loaded_else_one_is_built(
    engines: Sequence[EngineFile],
    libraries: Sequence[Library],
    device: Device,
    loaded: EngineFile | None,
    library: Library,
) -> None:
    plan = plan_engine(engines, libraries, device, "fp16")
    assert plan.library == library and plan.engine == (loaded.path if loaded else None)
    here = f"here is {library.flavor.name} {library.version} on {device.capability}"
    assert plan.reason == "" if loaded else plan.reason.endswith(here)


def test_or_it_says_what_is_missing() -> None:
    message = (
        r"tensorrt-rtx 1\.7\.1 builds for compute capabilities 7\.5, 8\.6, 8\.9, 12\.0; H100 has 9\.0\. "
        r"Install what this GPU needs: pip install 'i2i-sdk\[tensorrt\]'\. Or take an ort variant: "
        r"backend='ort', provider='cuda'$"
    )
    with pytest.raises(BackendError, match=message):
        plan_engine((PORTABLE,), (RTX,), HOPPER, "fp16")
    with pytest.raises(BackendError, match=r"no TensorRT is installed\. Install .*pip install"):
        plan_engine((PORTABLE,), (), GEFORCE, "fp16")


def test_int8_where_it_would_become_fp16() -> None:
    assert explain_unusable(RTX, TURING, "fp16") is None and explain_unusable(RTX, GEFORCE, "int8") is None
    assert explain_unusable(TENSORRT, TURING, "int8") is None
    message = r"tensorrt-rtx has no INT8 convolutions for 7\.5; take the fp16 variant"
    with pytest.raises(BackendError, match=message):
        plan_engine((OLD,), (RTX,), TURING, "int8")


def test_a_built_engine_is_kept_for_exactly_what_it_is_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("I2I_CACHE_DIR", str(tmp_path))
    kept = locate_cached_engine("a" * 64, RTX, GEFORCE)
    assert kept == locate_cached_engine("a" * 64, RTX, GEFORCE) and kept.parent == tmp_path / "tensorrt"
    others = {
        locate_cached_engine("b" * 64, RTX, GEFORCE),
        locate_cached_engine("a" * 64, replace(RTX, version="1.7.2"), GEFORCE),
        locate_cached_engine("a" * 64, TENSORRT, GEFORCE),
        locate_cached_engine("a" * 64, RTX, replace(GEFORCE, name="Another")),
        locate_cached_engine("a" * 64, RTX, replace(GEFORCE, capability="8.9")),
    }
    assert len(others | {kept}) == 6


def test_the_device_builds_its_own_engine(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """For a GPU that is described here, not present: TensorRT for RTX needs no more."""
    (library,) = find_installed(["rtx"])
    caplog.set_level(logging.INFO, "i2i_sdk.backends.tensorrt.trt_engine")
    graph = save_swap(tmp_path / "x.onnx", "fp16")
    assert len(build_for_device(library, graph, "fp16", GEFORCE, "the bundle has none")) > 1000
    assert "x.onnx: building a TensorRT engine: the bundle has none" in caplog.text
    with pytest.raises(BackendError, match="asked for fp16"):
        build_for_device(library, save_swap(tmp_path / "y.onnx", "fp32"), "fp16", GEFORCE, "")


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert TrtEngine.explain_unsupported("fp32") == "TensorRT engines are built in fp16, int8, not fp32"
    monkeypatch.setattr(trt_engine, "FLAVORS", (Flavor("rtx", 1, "a_module_of_nobody", "tensorrt-rtx"),))
    reason = TrtEngine.explain_unsupported("fp16")
    assert reason is not None and reason.startswith("the package is missing: pip install 'i2i-sdk[tensorrt]'")


@needs_none
def test_a_missing_driver_is_named(tmp_path: Path) -> None:
    for precision in ("fp16", "int8"):
        assert str(TrtEngine.explain_unsupported(precision)).startswith("no CUDA device: CUDA: cudaError")
    with pytest.raises(BackendError, match="CUDA: cudaError"):
        TrtEngine((save_swap(tmp_path / "x.onnx", "fp16"),), "fp16")


@needs_gpu
@pytest.mark.parametrize("kind", ["fp16", "int8"])
def test_an_engine_runs(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Built on this GPU, kept, loaded from there; an engine of the bundle; batches of several sizes."""
    monkeypatch.setenv("I2I_CACHE_DIR", str(tmp_path / "cache"))
    if reason := TrtEngine.explain_unsupported(kind):
        pytest.skip(reason)
    graph, here = save_swap(tmp_path / "x.onnx", kind), cuda.find_device()
    library = plan_engine((), find_installed(), here, kind).library
    for time in ("built", "kept"):
        with TrtEngine((graph,), kind) as engine:
            assert engine.input_shape == engine.output_shape == (None, HEIGHT, WIDTH, 3)
            assert (engine.precision, dict(engine.layers)) == (kind, {kind: 1}), time
            for count in (1, 8, 3, 1):
                batch = make_noise(count, HEIGHT, WIDTH, 3, seed=count)
                assert (engine.run(batch) == swap_red_and_blue(batch, kind)).all(), time
            with pytest.raises(BackendError, match="it takes 1 to 8 frames"):
                engine.run(make_noise(9, HEIGHT, WIDTH, 3))
    assert len(list((tmp_path / "cache" / "tensorrt").iterdir())) == 1
    named = (here.capability,) if library.flavor.builds_without_gpu else ()
    shipped = tmp_path / format_engine_name("x", library, (here.capability,))
    shipped.write_bytes(build_engine(library, graph, kind, named).engine)
    monkeypatch.setenv("I2I_CACHE_DIR", str(tmp_path / "untouched"))
    with TrtEngine((graph, shipped), kind) as engine:
        batch = make_noise(1, HEIGHT, WIDTH, 3)
        assert (engine.run(batch) == swap_red_and_blue(batch, kind)).all()
    assert not (tmp_path / "untouched").exists()
    with pytest.raises(BackendError, match="this engine is closed"):
        engine.run(batch)
