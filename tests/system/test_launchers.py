"""The scripts of a checkout, `python export/trt.py CKPT`: one for each target, short, and in nobody's way."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

from i2i_export.targets import TARGETS

ROOT, FOLDERS = Path(__file__).resolve().parents[2], ("export", "training")
LAUNCHERS = sorted(path.relative_to(ROOT) for path in ROOT.glob("*/*.py") if path.parts[-2] in FOLDERS)


def test_they_shadow_nothing() -> None:
    """`python export/onnx.py` would put export/ first on the path, and `import onnx` would find itself."""
    stems = {path.stem for path in LAUNCHERS}
    module_names = set(sys.stdlib_module_names) | set(importlib.metadata.packages_distributions())
    module_names |= {"tensorrt", "coremltools", "ncnn", "onnx", "onnxruntime", "torch_tensorrt", "openvino"}
    assert stems and not stems & module_names


def test_every_target_has_one() -> None:
    texts = [(ROOT / path).read_text() for path in LAUNCHERS if path.parts[0] == "export"]
    launched = [name for text in texts for name in re.findall(r'"i2i_export.cli:launch", \["([\w-]+)"', text)]
    assert sorted(launched) == sorted(TARGETS) and len(texts) == len(TARGETS)


@pytest.mark.parametrize("launcher", LAUNCHERS, ids=str)
def test_without_an_install_it_says_what_to_run(launcher: Path, tmp_path: Path) -> None:
    """An isolated interpreter without site-packages is a machine where nothing was installed."""
    assert len((ROOT / launcher).read_text().splitlines()) <= 20
    command = [sys.executable, "-S", "-I", str(ROOT / launcher), "x.pth"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert f"make setup, then .venv/bin/python {launcher.as_posix()} …" in done.stderr
