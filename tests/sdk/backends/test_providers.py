"""ONNX Runtime's execution providers: chosen by name, refused where they are not, never replaced in silence.

The onnxruntime that is installed does the refusing. It brings one provider besides the CPU, Azure's, which is
on its list of active ones when asked for and runs nothing: the very trap that is tested here.
"""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import onnxruntime
import pytest
from known_bundles import HEIGHT, WIDTH, FindBundle, make_noise, save_graph
from small_convolutions import save_convolutions

from i2i_sdk import BackendError
from i2i_sdk.backends.base import EngineOptions
from i2i_sdk.backends.ort import providers
from i2i_sdk.backends.ort.ort_engine import OrtEngine
from i2i_sdk.backends.ort.providers import PROVIDERS, Provider, explain_unsupported_provider, list_available

ABSENT_PROVIDERS = sorted(set(PROVIDERS) - set(list_available()))
AZURE = Provider("AzureExecutionProvider", "pip install onnxruntime", ("fp32",))


@pytest.fixture
def graph(known: FindBundle) -> Path:
    return known("invert") / "reference.onnx"


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch) -> EngineOptions:
    """Options that ask for a provider which is active in name only."""
    if AZURE.name not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has no AzureExecutionProvider")
    monkeypatch.setitem(PROVIDERS, "azure", AZURE)
    return EngineOptions(provider="azure")


def test_the_names_are_onnx_runtimes() -> None:
    assert {provider.name for provider in PROVIDERS.values()} <= set(onnxruntime.get_all_providers())
    assert list_available()[0] == "cpu"


def test_no_provider_is_the_cpu_and_nothing_else_is_ever_chosen(graph: Path) -> None:
    for options in (EngineOptions(), EngineOptions(provider="cpu")):
        with OrtEngine((graph,), "fp32", options) as engine:
            assert engine.provider == "CPUExecutionProvider"
            assert engine._native.get_providers() == ["CPUExecutionProvider"]
    assert "AzureExecutionProvider" not in {provider.name for provider in PROVIDERS.values()}


@pytest.mark.parametrize("name", ABSENT_PROVIDERS)
def test_what_is_not_here_is_refused_and_says_what_brings_it(name: str) -> None:
    provider = PROVIDERS[name]
    message = str(explain_unsupported_provider(name, provider.precisions[0]))
    assert f"provider {name} is not in this ONNX Runtime, which has cpu" in message
    assert provider.install_hint in message


@pytest.mark.parametrize("name", [name for name in ABSENT_PROVIDERS if PROVIDERS[name].plugin is None])
@pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")  # onnxruntime's way of saying so
def test_onnx_runtime_itself_does_not_get_away_with_the_cpu(name: str, graph: Path) -> None:
    """It takes the CPU for a provider that it has not. Without the check in advance that is an error too."""
    precision = PROVIDERS[name].precisions[0]
    with pytest.raises(BackendError, match=rf"Asked for provider {name}\. Here are: cpu.*--allow-fallback"):
        OrtEngine((graph,), precision, EngineOptions(provider=name))
    with pytest.raises(BackendError, match=rf"asked ONNX Runtime for provider {name}, it would run on CPUE"):
        OrtEngine((graph,), precision, EngineOptions(provider=name, allow_fallback=True))


def test_a_provider_that_is_active_and_runs_nothing(azure: EngineOptions, graph: Path) -> None:
    with pytest.raises(BackendError, match=r"fallback to CPU EP has been explicitly disabled") as caught:
        OrtEngine((graph,), "fp32", azure)
    assert "Asked for provider azure" in str(caught.value)


def test_the_list_of_active_providers_is_not_believed(azure: EngineOptions, graph: Path) -> None:
    """As where ONNX Runtime does not know the switch that forbids the CPU."""
    session = onnxruntime.SessionOptions()
    session.add_session_config_entry(providers.RECORD_ASSIGNMENT, "1")
    opened = onnxruntime.InferenceSession(str(graph), session, providers=[AZURE.name])
    assert opened.get_providers()[0] == AZURE.name
    with pytest.raises(BackendError, match=r"azure, it would run on CPUExecutionProvider \(3 nodes\)"):
        providers.check_provider(opened, "azure", allow_fallback=False)


@pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")
def test_onnx_runtime_does_not_start_again_on_the_cpu(
    graph: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Left alone it prints "EP Error … Falling back" to stdout and gives a session on the CPU."""
    monkeypatch.setitem(PROVIDERS, "made up", replace(AZURE, name="MadeUpExecutionProvider"))
    with pytest.raises(BackendError, match="Unknown Provider Type: MadeUpExecutionProvider"):
        OrtEngine((graph,), "fp32", EngineOptions(provider="made up", allow_fallback=True))
    assert capfd.readouterr().out == ""


def test_an_allowed_fall_back_is_said_and_shown(
    azure: EngineOptions, graph: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frame = make_noise(1, HEIGHT, WIDTH, 3)
    options = EngineOptions(provider="azure", allow_fallback=True)
    with caplog.at_level(logging.WARNING), OrtEngine((graph,), "fp32", options) as engine:
        assert engine.provider == "CPUExecutionProvider (3 nodes)"
        assert (engine.run(frame) == 255 - frame).all()
    assert "provider azure does not take all nodes: CPUExecutionProvider (3 nodes)" in caplog.text


def test_precisions_of_providers() -> None:
    for precision in ("fp32", "int8"):
        assert explain_unsupported_provider("cpu", precision) is None
    reason = explain_unsupported_provider("cpu", "fp16")
    assert reason == "ONNX Runtime on cpu has no fp16; it computes fp32, int8"


def test_a_provider_keeps_to_the_types_of_the_file(azure: EngineOptions, tmp_path: Path) -> None:
    """What its compiler makes of them it does not say, so a file of another type is refused."""
    options = EngineOptions(provider="azure", allow_fallback=True)
    for file, typed in (
        (save_convolutions(tmp_path / "a.onnx", half=True), "fp16"),
        (save_convolutions(tmp_path / "b.onnx", "both"), "int8"),
    ):
        with pytest.raises(BackendError, match=f"asked ONNX Runtime for fp32, it would compute in {typed}"):
            OrtEngine((file,), "fp32", options)


def test_without_onnx_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = ImportError("No module named 'onnxruntime'")
    monkeypatch.setattr(providers, "list_available", Mock(side_effect=missing))
    assert explain_unsupported_provider("cpu", "fp32") == "the package is missing: pip install onnxruntime"


@pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime_qnn") is None,
    reason="needs the plugin: pip install onnxruntime-qnn",
)
def test_a_plugin_runs_what_it_takes_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On x86 Qualcomm's library emulates its processor: slow, and good for small graphs only."""
    monkeypatch.setitem(PROVIDERS, "qnn", replace(PROVIDERS["qnn"], precisions=("fp32",)))
    options, frame = EngineOptions(provider="qnn"), make_noise(1, HEIGHT, WIDTH, 3)
    with OrtEngine((save_graph(tmp_path / "x.onnx", "invert", batch="batch"),), "fp32", options) as engine:
        assert engine.provider == "QNNExecutionProvider"
        assert engine.input_shape == (1, HEIGHT, WIDTH, 3)  # it has to know every size
        assert (engine.run(frame) == 255 - frame).all()
    with pytest.raises(BackendError, match="Asked for provider qnn"):
        OrtEngine((save_graph(tmp_path / "y.onnx", "swap"),), "fp32", options)
