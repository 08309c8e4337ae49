"""What ONNX Runtime can run on besides the CPU: its execution providers, by the names that users type.

ONNX Runtime gives what a provider cannot take to the CPU without a word, the whole graph if need be, and
still lists the provider as active. So the CPU is switched off unless the caller allows it, and where each
node went is read back.

Executed by this project: cpu, cuda (FP32 and FP16, ONNX Runtime 1.31 on an H200) and qnn's emulation on
x86. Never executed, for want of the devices: tensorrt-rtx, coreml, directml, xnnpack, and qnn itself.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false
# onnxruntime ships no type information.

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from i2i_sdk.errors import BackendError, InputError

log = logging.getLogger(__name__)

DISABLE_CPU_FALLBACK = "session.disable_cpu_ep_fallback"
RECORD_ASSIGNMENT = "session.record_ep_graph_assignment_info"


@dataclass(frozen=True)
class Provider:
    """One execution provider."""

    name: str  # as ONNX Runtime calls it
    install_hint: str  # what to do to get it
    precisions: tuple[str, ...]  # types of graphs that it computes as they are typed
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    plugin: str | None = None  # module of a library that has to be registered first
    fixed_batch: bool = False  # does it need to know every size?


PROVIDERS: dict[str, Provider] = {
    "cpu": Provider("CPUExecutionProvider", "pip install onnxruntime", ("fp32", "int8")),
    "cuda": Provider(
        "CUDAExecutionProvider",
        "on Linux or Windows: pip install 'onnxruntime-gpu[cuda,cudnn]', in place of onnxruntime",
        ("fp32", "fp16"),  # it has no INT8 convolutions and would compute them in floats
        options={"use_tf32": "0"},  # on by default: 10 bits of mantissa would pass for FP32
    ),
    "tensorrt-rtx": Provider(
        "NvTensorRTRTXExecutionProvider",
        "on Linux or Windows: pip install onnxruntime-ep-nv-tensorrt-rtx",
        ("fp32", "fp16"),  # TensorRT's INT8 is symmetric; the ONNX Runtime variants' activations are not
        plugin="onnxruntime_ep_nv_tensorrt_rtx",
    ),
    "coreml": Provider(
        "CoreMLExecutionProvider",
        "on a Mac: pip install onnxruntime",
        ("fp32", "fp16"),
        options={"ModelFormat": "MLProgram"},  # the older format would compute FP32 in FP16
        fixed_batch=True,
    ),
    "directml": Provider(
        "DmlExecutionProvider",
        "on Windows: pip install onnxruntime-directml, in place of onnxruntime",
        ("fp32", "fp16"),
    ),
    "qnn": Provider(
        "QNNExecutionProvider",
        "on Linux or Windows: pip install onnxruntime-qnn",
        ("fp16", "int8"),  # the Hexagon processor computes floats in FP16
        options={"backend_type": "htp"},
        plugin="onnxruntime_qnn",
        fixed_batch=True,
    ),
    "xnnpack": Provider("XnnpackExecutionProvider", "a mobile build of ONNX Runtime", ("fp32",)),
}


def find_provider(name: str) -> Provider:
    """The provider that `name` means. Raises InputError listing all."""
    if name not in PROVIDERS:
        raise InputError(f"provider is {name!r}; known: {', '.join(PROVIDERS)}")
    return PROVIDERS[name]


def list_available() -> tuple[str, ...]:
    """Providers of the installed ONNX Runtime and its plugins, whether or not their device is here.

    Raises ImportError without ONNX Runtime.
    """
    import onnxruntime as ort

    built_in = set(ort.get_available_providers())
    can_register = hasattr(ort, "register_execution_provider_library")
    return tuple(
        name
        for name, provider in PROVIDERS.items()
        if provider.name in built_in
        or (provider.plugin and can_register and importlib.util.find_spec(provider.plugin))
    )


def explain_unsupported_provider(name: str, precision: str) -> str | None:
    """Why ONNX Runtime cannot run `precision` on a provider here, with what to do; None if it can.

    Raises InputError for a provider that is not known.
    """
    provider = find_provider(name)
    try:
        here = list_available()
    except ImportError:
        return f"the package is missing: {provider.install_hint}"
    if name not in here:
        has = ", ".join(here)
        return f"provider {name} is not in this ONNX Runtime, which has {has}: {provider.install_hint}"
    if precision not in provider.precisions:
        return f"ONNX Runtime on {name} has no {precision}; it computes {', '.join(provider.precisions)}"
    return None


def configure(session: Any, name: str, allow_fallback: bool) -> list[Any]:
    """Prepare a session's options for a provider.

    Args:
        session: onnxruntime.SessionOptions, which are changed.
        name: of the provider, as in `PROVIDERS`.
        allow_fallback: may the CPU run what the provider cannot?

    Returns:
        What InferenceSession takes as `providers`.

    Raises:
        InputError: the provider is not known.
        BackendError: a plugin finds no device.
    """
    import onnxruntime as ort

    provider = find_provider(name)
    session.add_session_config_entry(RECORD_ASSIGNMENT, "1")
    if name == "cuda" and hasattr(ort, "preload_dlls"):  # what pip installed of CUDA is on no library path
        ort.preload_dlls()
    if name != "cpu" and not allow_fallback:
        session.add_session_config_entry(DISABLE_CPU_FALLBACK, "1")
    if name == "directml":  # as its documentation demands
        session.enable_mem_pattern = False
    if provider.fixed_batch:
        session.add_free_dimension_override_by_name("batch", 1)
    if provider.plugin is None or importlib.util.find_spec(provider.plugin) is None:  # built in
        return [(provider.name, dict(provider.options))]
    session.add_provider_for_devices([_find_device(provider, name)], dict(provider.options))
    return []


def count_nodes_by_provider(session: Any) -> dict[str, int]:
    """How many nodes of the graph each provider runs, most first; empty before ONNX Runtime 1.24."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return {}
    counts: Counter[str] = Counter()
    for part in session.get_provider_graph_assignment_info():
        counts[str(part.ep_name)] += len(part.get_nodes())
    return dict(counts.most_common())


def check_provider(session: Any, name: str, allow_fallback: bool) -> str:
    """What a session really runs on.

    Args:
        session: an onnxruntime.InferenceSession.
        name: of the provider that was asked for, as in `PROVIDERS`.
        allow_fallback: may the CPU be there, too?

    Returns:
        "CPUExecutionProvider", or several providers with how many nodes each runs.

    Raises:
        BackendError: it is not this provider alone, but for a CPU that was allowed.
    """
    provider, counts = find_provider(name), count_nodes_by_provider(session)
    active: list[str] = session.get_providers()
    elsewhere = {other: count for other, count in counts.items() if other != provider.name}
    if provider.name not in active or (elsewhere and not allow_fallback):
        found = format_counts(counts) or ", ".join(active)
        advice = suggest_fix(name)
        raise BackendError(f"asked ONNX Runtime for provider {name}, it would run on {found}. {advice}")
    if elsewhere:
        log.warning("provider %s does not take all nodes: %s", name, format_counts(counts))
    return format_counts(counts) if elsewhere else provider.name


def format_counts(counts: Mapping[str, int]) -> str:
    """ "CPUExecutionProvider (52 nodes), QNNExecutionProvider (3 nodes)"."""
    return ", ".join(f"{name} ({count} nodes)" for name, count in counts.items())


def suggest_fix(name: str) -> str:
    """What to do when a provider does not run a graph."""
    here, hint = ", ".join(list_available()), PROVIDERS[name].install_hint
    return (
        f"Here are: {here}. {name} comes with: {hint}; its driver and device must be there too. "
        f"allow_fallback=True (--allow-fallback) lets the CPU do the rest"
    )


def _find_device(provider: Provider, name: str) -> Any:
    """Register a plugin's library, once in a process, and return its best device. Raises BackendError."""
    import onnxruntime as ort

    assert provider.plugin is not None
    package = importlib.import_module(provider.plugin)
    if provider.name not in ort.get_available_providers():
        try:
            ort.register_execution_provider_library(provider.name, str(package.get_library_path()))
        except Exception as error:  # onnxruntime's errors share no base class
            raise BackendError(f"provider {name}: its library does not load: {error}") from error
    kinds = ort.OrtHardwareDeviceType
    order = [kinds.NPU, kinds.GPU, kinds.CPU]
    found = [d for d in ort.get_ep_devices() if d.ep_name == provider.name]
    devices = [d for kind in order for d in found if d.device.type == kind]
    if not devices:
        raise BackendError(f"provider {name}: {provider.plugin} is installed, but finds no device here")
    return devices[0]
