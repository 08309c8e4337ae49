"""`i2i doctor`: what a bug report needs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from i2i_sdk.backends import explain_unsupported_backend, load_backend_class
from i2i_sdk.backends.base import EngineOptions
from i2i_sdk.backends.ort.providers import PROVIDERS
from i2i_sdk.backends.preference_table import BACKENDS
from i2i_sdk.backends.tensorrt import cuda
from i2i_sdk.cli.common import Parser, add_options
from i2i_sdk.device import get_cache_dir
from i2i_sdk.errors import BackendError
from i2i_sdk.live.sinks.display import find_display
from i2i_sdk.perf.machine import describe_machine
from i2i_sdk.zoo import ZOO, find_zoo_bundle


def main(argv: Sequence[str]) -> int:
    """Print the facts. Returns 1 when no engine works here."""
    parser = Parser(prog="i2i doctor", description="What a bug report needs.")
    add_options(parser.add_argument, json="")
    args = parser.parse_args(argv)
    engines = probe_engines()
    facts: dict[str, Mapping[str, object]] = {
        "machine": describe_machine(),
        "engines": engines,
        "providers of ort": {name: probe_provider(name) for name in PROVIDERS},
        "devices": {
            "nvidia gpu": describe_gpu(),
            "display": describe_display(),
            "cameras": describe_cameras(),
        },
        "files": {"cache": describe_cache(), "zoo": ", ".join(ZOO)},
    }
    if args.json:
        print(json.dumps(facts, indent=1))
    else:
        for heading, content in facts.items():
            print(heading)
            for name, value in content.items():
                print(f"  {name:<16} {value}")
    return 0 if any(state.startswith("works") for state in engines.values()) else 1


def probe_engines() -> dict[str, str]:
    """Every backend with each of its precisions; a backend that cannot run at all stands there once."""
    states: dict[str, str] = {}
    for name, row in BACKENDS.items():
        if row.engine is None:
            continue
        found = {precision: probe_engine(name, precision) for precision in row.precisions}
        if len(set(found.values())) == 1 and next(iter(found.values())).startswith("no: "):
            states[name] = next(iter(found.values()))
        else:
            states |= {f"{name} {precision}": state for precision, state in found.items()}
    return states


def probe_engine(name: str, precision: str, provider: str | None = None) -> str:
    """Run the zoo's first model on this engine, where it can be, and say what really happened.

    Args:
        name: of the backend.
        precision: "fp32" …
        provider: of ONNX Runtime; None: the CPU.

    Returns:
        A line that begins with "works", "ready", "no: " or "broken: ".
    """
    folder = find_zoo_bundle(next(iter(ZOO)))
    assert folder is not None
    try:
        if reason := explain_unsupported_backend(name, precision, provider):
            return f"no: {reason}"
        if precision not in BACKENDS[name].runs_onnx:
            return "ready; not tried, as the zoo has no such model"
        options = EngineOptions(provider=provider)
        with load_backend_class(name)((folder / "reference.onnx",), precision, options) as engine:
            engine.warmup(1)
            layers = "".join(f", {count} layers in {kind}" for kind, count in engine.layers.items())
            return f"works, computes in {engine.precision} on {engine.provider}{layers}"
    except Exception as error:  # a doctor reports whatever is broken and goes on
        return f"broken: {type(error).__name__}: {error}"


def probe_provider(name: str) -> str:
    """The same for an execution provider of ONNX Runtime, which has to run the whole model."""
    precisions = PROVIDERS[name].precisions
    return probe_engine("ort", "fp32" if "fp32" in precisions else precisions[0], name)


def describe_gpu() -> str:
    """The GPU that CUDA takes first, with its compute capability, which engines are built for."""
    if reason := cuda.explain_missing_cuda():
        return f"none: {reason}"
    device = cuda.find_device()
    return f"{device.name}, compute capability {device.capability}"


def describe_display() -> str:
    """Can a window be shown? It was tried."""
    try:
        return str(find_display())
    except BackendError as error:
        return f"none: {error}"


def describe_cameras() -> str:
    """Camera devices that the system lists; none is opened."""
    if not sys.platform.startswith("linux"):
        return "listed on Linux only; try index 0"
    found = sorted(str(p) for p in Path("/dev").glob("video*"))
    return ", ".join(found) or "none: no /dev/video*"


def describe_cache() -> str:
    """Where tuned latencies are kept, and how many there are."""
    folder = get_cache_dir()
    count = len(list((folder / "tuned").glob("*.json")))
    return f"{folder}, {count} tuned bundles"
