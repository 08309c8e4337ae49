"""What `pip install` gives: the wheel's files, and a runtime that works without PyTorch."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

PROGRAM = """
import json, sys
import i2i_sdk
after_import = sorted(sys.modules)
import numpy as np
with i2i_sdk.Translator("sketch") as translate:
    frame = np.full((120, 160, 3), 200, np.uint8)
    frame[40:80, 60:100] = 30
    drawing = translate(frame)
    variant = translate.variant.name
    shapes = sorted({(v.height, v.width) for v in translate.bundle.manifest.variants})
print(json.dumps({
    "after_import": after_import, "modules": sorted(sys.modules), "variant": variant, "shapes": shapes,
    "shape": drawing.shape, "mean": float(drawing.mean()), "spread": float(drawing.std()),
}))
"""
HEAVY = {
    *("torch", "onnx", "openvino", "onnxruntime", "ncnn", "coremltools", "tensorrt_rtx", "cuda"),
    *("cv2", "av", "rich", "PIL", "lightning", "skimage", "matplotlib"),
}


@pytest.fixture(scope="session")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(root)]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_holds_the_packages_and_the_zoo_and_nothing_else(wheel: Path, root: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = set()
    for folder, package in (("sdk", "i2i_sdk"), ("export", "i2i_export"), ("training", "i2i_training")):
        tracked = subprocess.run(
            ["git", "ls-files", f"{folder}/{package}"], cwd=root, capture_output=True, text=True, check=True
        ).stdout.split()
        expected |= {name.removeprefix(f"{folder}/") for name in tracked}
    assert {n for n in names if ".dist-info/" not in n} == expected
    zoo = {f"i2i_sdk/zoo/sketch.i2i/{name}" for name in ("manifest.json", "reference.onnx")}
    assert zoo | {"i2i_sdk/py.typed"} <= names
    assert sum(i.file_size for i in zipfile.ZipFile(wheel).infolist() if "/zoo/" in i.filename) < 12e6


def test_runtime_works_in_a_bare_environment(wheel: Path, root: Path, tmp_path: Path) -> None:
    environment = tmp_path / "bare"
    venv.create(environment, with_pip=True)
    python = environment / ("Scripts" if sys.platform == "win32" else "bin") / "python"

    def run_python(*words: object) -> subprocess.CompletedProcess[str]:
        command = [str(python), *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    installed = run_python("-m", "pip", "install", "--quiet", "-c", root / "constraints.txt", wheel)
    assert installed.returncode == 0, installed.stderr
    found = json.loads(run_python("-W", "error", "-c", PROGRAM).stdout)
    assert not HEAVY & {name.split(".")[0] for name in found["after_import"]}
    assert not {"torch", "onnx", "openvino"} & {name.split(".")[0] for name in found["modules"]}
    assert (found["variant"], found["shape"]) == ("ort-fp32-256x256", [120, 160, 3])
    assert found["mean"] > 128 and found["spread"] > 5  # paper with strokes on it

    export = run_python("-m", "i2i_sdk", "export", "x.pth")
    assert export.returncode == 2
    assert "pip install 'i2i-sdk[export]'" in export.stderr and "Traceback" not in export.stderr
