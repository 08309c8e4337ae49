"""Translator(device=…): the table of devices, what serves each, and what contradicts it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from known_bundles import HEIGHT, WIDTH, FindBundle, make_noise, write_known_bundle

from i2i_sdk import BackendError, Bundle, InputError, Translator
from i2i_sdk.backends.base import DEFAULT_OPTIONS, Engine, EngineOptions, Files
from i2i_sdk.backends.ort.providers import PROVIDERS
from i2i_sdk.backends.preference_table import BACKENDS, DEVICES
from i2i_sdk.bundle.manifest import Variant
from i2i_sdk.selection import TunedLatency, save_latencies

ENGINES = tuple((name, row.precisions[-1]) for name, row in BACKENDS.items() if row.engine)


class RecordingEngine(Engine):
    """Runs nothing; says as its provider what it was given."""

    def __init__(self, files: Files, precision: str, options: EngineOptions = DEFAULT_OPTIONS) -> None:
        self.input_shape = self.output_shape = (1, HEIGHT, WIDTH, 3)
        self.input_dtype = self.output_dtype = "uint8"
        self.precision, self.provider = precision, str(options.provider)

    def run(self, batch: Any) -> Any:
        return batch

    def close(self) -> None:
        pass


@pytest.fixture
def let_run(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """let_run("trt ort:cuda"): nothing but these backends, on these providers, runs here."""

    def let(names: str) -> None:
        def explain(variant: Variant, provider: str | None = None) -> str | None:
            name = variant.backend if provider is None else f"{variant.backend}:{provider}"
            return None if name in names.split() else f"no {name}"

        monkeypatch.setattr("i2i_sdk.backends.explain_unsupported_variant", explain)
        monkeypatch.setattr("i2i_sdk.backends.load_backend_class", lambda name: RecordingEngine)

    return let


@pytest.fixture
def everything(working_folder: Path) -> Path:
    """A bundle with a variant of each backend."""
    return write_known_bundle(working_folder / "all.i2i", "invert", engines=ENGINES).path


def test_the_docstring_tells_the_table() -> None:
    titles = {"openvino": "OpenVINO", "ort": "ONNX Runtime", "ncnn": "ncnn", "trt": "TensorRT"}
    titles |= {"torch-trt": "torch-tensorrt", "coreml": "Core ML"}
    text = " ".join((Translator.__doc__ or "").split())
    for device, row in DEVICES.items():
        found = re.search(rf'"{device}": (.*?)\. ', text)
        assert found is not None
        assert {name for name, title in titles.items() if title in found[1]} == set(row)
        assert all(provider in found[1] for provider in row["ort"] if provider)


@pytest.mark.parametrize("backend", [None, "ort", "openvino"])
def test_the_cpu_runs(known: FindBundle, backend: str | None) -> None:
    image = make_noise(HEIGHT, WIDTH, 3)
    with Translator(known("invert"), device="cpu", backend=backend) as translate:
        assert translate.engine.provider in ("CPU", "CPUExecutionProvider")
        assert (translate(image) == 255 - image).all()
    with Translator(known("invert") / "reference.onnx", device="cpu", backend=backend) as translate:
        assert (translate(image) == 255 - image).all()


@pytest.mark.parametrize("device", [name for name in DEVICES if name != "cpu"])
def test_a_device_that_is_not_here_is_refused(
    known: FindBundle, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr("i2i_sdk.backends.ort.providers.list_available", lambda: ("cpu",))
    served = ", ".join(DEVICES[device])
    tried = "".join(f"provider {name} is .*" for name in DEVICES[device]["ort"])
    message = (
        rf"no variant can run on device={device} \({served}\): ort-fp32-24x40: {tried}device='auto' takes"
    )
    with pytest.raises(BackendError, match=message) as caught:
        Translator(known("invert"), device=device)
    assert "openvino" not in str(caught.value)
    with pytest.raises(BackendError, match=rf"onnx: ort cannot run it on device={device}: {tried}"):
        Translator(known("invert") / "reference.onnx", device=device, allow_fallback=True)


@pytest.mark.parametrize(
    ("device", "runs", "chosen"),
    [
        ("cpu", "ort:cpu openvino:cpu ncnn:cpu coreml ort", "openvino cpu"),
        ("cpu", "ort:cpu ncnn:cpu trt", "ort cpu"),
        ("cuda", "ort:cpu openvino:cpu ort:tensorrt-rtx ort:cuda", "ort cuda"),
        ("cuda", "trt torch-trt ort:cuda", "trt None"),
        ("gpu", "ort:coreml ort:directml", "ort directml"),
        ("gpu", "coreml coreml:gpu ort:coreml", "coreml gpu"),
        ("npu", "ort:cuda ort:qnn ort:cpu", "ort qnn"),
        ("npu", "coreml coreml:neural-engine ort:coreml", "coreml neural-engine"),
        ("coreml", "coreml coreml:gpu ort:coreml", "coreml None"),
    ],
)
def test_what_serves_a_device_is_chosen(
    everything: Path, let_run: Callable[[str], None], device: str, runs: str, chosen: str
) -> None:
    let_run(runs)
    with Translator(everything, device=device) as translate:
        assert translate.variant is not None
        assert f"{translate.variant.backend} {translate.engine.provider}" == chosen


def test_every_entry_of_every_device_can_be_chosen(everything: Path, let_run: Callable[[str], None]) -> None:
    for device, row in DEVICES.items():
        for backend, names in row.items():
            for provider in names:
                let_run(backend if provider is None else f"{backend}:{provider}")
                with Translator(everything, device=device) as translate:
                    assert translate.variant is not None
                    assert (translate.variant.backend, translate.engine.provider) == (backend, str(provider))
    assert {p for row in DEVICES.values() for p in row.get("ort", ())} == set(PROVIDERS)


def test_a_device_and_one_of_its_providers(everything: Path, let_run: Callable[[str], None]) -> None:
    let_run("trt ort:cuda ort:tensorrt-rtx coreml coreml:gpu")
    with Translator(everything, device="cuda", provider="tensorrt-rtx") as translate:
        assert translate.engine.provider == "tensorrt-rtx"
    with Translator(everything, device="coreml", backend="coreml", provider="gpu") as translate:
        assert translate.engine.provider == "gpu"
    with Translator(everything, device="auto") as automatic, Translator(everything) as default:
        assert automatic.variant == default.variant


def test_what_was_tuned_on_another_device_does_not_count(
    everything: Path, let_run: Callable[[str], None]
) -> None:
    save_latencies(Bundle.read(everything), {"ort-fp32-24x40": TunedLatency(0.1, 0.1, 90.0)})
    let_run("trt ort:cuda ort:cpu openvino:cpu")
    for device, backend in (("cpu", "ort"), ("cuda", "trt"), ("gpu", "trt")):
        with Translator(everything, device=device) as translate:
            assert translate.variant is not None and translate.variant.backend == backend
    with pytest.raises(InputError, match=r"max_ms=20: none of trt-.*it runs ort on the CPU only"):
        Translator(everything, device="cuda", max_ms=20)
    with Translator(everything, device="cpu", max_ms=20) as translate:
        assert translate.engine.provider == "cpu"
