"""`i2i doctor`: what a bug report needs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from i2i_sdk.backends import BACKENDS, backend_class
from i2i_sdk.measure import machine
from i2i_sdk.tuning import cache_dir
from i2i_sdk.zoo import ZOO, zoo_path

PRECISIONS = ("fp32", "bf16")


def main(argv: Sequence[str]) -> int:
    """Print the facts. Returns 1 when no engine works here."""
    parser = argparse.ArgumentParser(prog="i2i doctor", description="What a bug report needs.")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    engines = {
        f"{name} {precision}": engine_state(name, precision) for name in BACKENDS for precision in PRECISIONS
    }
    facts: dict[str, Mapping[str, object]] = {
        "machine": machine(),
        "engines": engines,
        "devices": {"display": display_state(), "cameras": cameras()},
        "files": {"cache": cache_state(), "zoo": ", ".join(ZOO)},
    }
    if args.json:
        print(json.dumps(facts, indent=1))
    else:
        for heading, content in facts.items():
            print(heading)
            for name, value in content.items():
                print(f"  {name:<16} {value}")
    return 0 if any(state.startswith("works") for state in engines.values()) else 1


def engine_state(name: str, precision: str) -> str:
    """Run the first zoo model on this engine and say what really happened."""
    backend = backend_class(name)
    if reason := backend.missing(precision):
        return f"no: {reason}"
    folder = zoo_path(next(iter(ZOO)))
    assert folder is not None
    try:
        with backend((folder / "reference.onnx",), precision) as engine:
            engine.warmup(1)
            return f"works, computes in {engine.precision} on {engine.provider}"
    except Exception as error:  # a doctor reports whatever is broken and goes on
        return f"broken: {type(error).__name__}: {error}"


def display_state() -> str:
    """Can a window be shown? OpenCV's Qt aborts the process where there is no display, so ask first."""
    import cv2

    gui = next(
        (line.split(":", 1)[1].strip() for line in cv2.getBuildInformation().splitlines() if "GUI:" in line),
        "",
    )
    if gui in ("", "NONE"):
        return "none: this OpenCV is built without windows (opencv-python-headless)"
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return f"none: neither DISPLAY nor WAYLAND_DISPLAY is set (OpenCV has {gui})"
    return f"{gui} on {os.environ.get('WAYLAND_DISPLAY') or os.environ.get('DISPLAY') or sys.platform}"


def cameras() -> str:
    """Camera devices that the system lists; none is opened."""
    if not sys.platform.startswith("linux"):
        return "listed on Linux only; try index 0"
    found = sorted(str(p) for p in Path("/dev").glob("video*"))
    return ", ".join(found) or "none: no /dev/video*"


def cache_state() -> str:
    """Where tuned latencies are kept, and how many there are."""
    folder = cache_dir()
    count = len(list((folder / "tuned").glob("*.json")))
    return f"{folder}, {count} tuned bundles"
