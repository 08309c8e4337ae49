"""The README's and the tour's words lead somewhere."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from skimage import data, io

from benchmarks.__main__ import FULL, SHORT
from i2i_sdk import Bundle
from i2i_sdk.cli.main import COMMANDS, main
from i2i_sdk.media.video import VideoReader
from i2i_sdk.media.video_writer import VideoWriter
from i2i_sdk.quality.metrics import psnr
from i2i_training.checkpoint import load_generator

DOCS = (
    *("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "models/sketch/README.md"),
    *(
        "docs/export.md",
        "docs/live.md",
        "docs/mobile.md",
        "docs/training.md",
        "docs/distillation.md",
        "docs/benchmarks.md",
    ),
    "docs/architecture.md",
    "docs/index.md",
    "docs/upstream_flags.md",
    "benchmarks/README.md",
)


def extract_code(page: Path) -> str:
    """What a page shows as code: its blocks, and one line for each piece within a sentence."""
    text = page.read_text(encoding="utf-8")
    return "\n".join([*re.findall(r"```\n(.*?)```", text, re.DOTALL), *re.findall(r"`([^`\n]+)`", text)])


@pytest.mark.parametrize("name", DOCS)
def test_links_and_pictures_exist(name: str, root: Path) -> None:
    text = (root / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)", text):
        if not target.startswith("http"):
            assert ((root / name).parent / target).exists(), target


@pytest.mark.parametrize("name", DOCS)
def test_commands_exist(name: str, root: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (root / "Makefile").read_text(), re.MULTILINE))
    code = extract_code(root / name)
    assert set(re.findall(r"^i2i ([a-z]+)", code, re.MULTILINE)) <= set(COMMANDS)
    assert set(re.findall(r"^make ([a-z]+)", code, re.MULTILINE)) <= targets


@pytest.mark.parametrize("name", DOCS)
def test_benchmarks_have_the_options_that_are_named(name: str, root: Path) -> None:
    commands = re.findall(r"^python -m benchmarks\.([a-z_]+)(.*)", extract_code(root / name), re.MULTILINE)
    for part, arguments in commands:
        source = root / "benchmarks" / f"{part}.py"
        assert source.is_file(), part
        for option in set(re.findall(r"--[a-z-]+", arguments)) - {"--help"}:
            assert f'"{option}"' in source.read_text(encoding="utf-8"), f"{part} {option}"


def test_every_benchmark_of_the_set_is_described(root: Path) -> None:
    text = (root / "benchmarks" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|.*\| (yes )?\|$", text, re.M)
    assert {part: bool(short) for part, short in rows} == {part: part in SHORT for part in FULL}


def test_paths_of_the_tour_exist(root: Path) -> None:
    text = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    files = {path.name for path in root.rglob("*.py") if ".venv" not in path.parts}
    for path in re.findall(r"`((?:sdk|export|training|tests|benchmarks)/[\w/.]*)`", text):
        assert (root / path).exists(), path
    assert set(re.findall(r"`([a-z_]+\.py)`", text)) <= files


def test_pages_are_built_without_a_warning(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "site" / "reference.html").read_text(encoding="utf-8")
    assert 'id="i2i_sdk.translator.Translator.translate_file"' in text


def test_the_reference_has_every_public_name(root: Path) -> None:
    text = (root / "docs" / "reference.md").read_text(encoding="utf-8")
    for name in ("i2i_sdk", "i2i_sdk.live", "i2i_export", "i2i_training"):
        module = importlib.import_module(name)
        for each in (getattr(module, public) for public in module.__all__ if public[0] != "_"):
            assert f"::: {each.__module__}.{each.__qualname__}\n" in text


def test_python_snippet_runs(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (root / "README.md").read_text(encoding="utf-8")
    (snippet,) = [each for each in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "photo.jpg" in each]
    monkeypatch.chdir(tmp_path)
    io.imsave("photo.jpg", data.chelsea())
    names: dict[str, object] = {}
    exec(snippet, names)  # the README's own words
    assert getattr(names["drawing"], "shape", None) == data.chelsea().shape


@pytest.fixture(scope="module")
def inputs(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the README's tasks start from, under the names that they have there."""
    folder = tmp_path_factory.mktemp("inputs")
    model = root / "models" / "sketch" / "latest_net_G.safetensors"
    torch.save(load_generator(model)[0].state_dict(), folder / "latest_net_G.pth")
    photos = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]
    for name in ("photos", "maps/train", "maps/val"):
        (folder / name).mkdir(parents=True)
        for index in range(8):
            photo = photos[index % 4][index * 8 :][:240, :320]
            pair = np.hstack([photo[:, :240], 255 - photo[:, :240]]) if "maps" in name else photo
            io.imsave(folder / name / f"{index}.png", pair)
    with VideoWriter(folder / "video.mp4", 320, 240, 25, None) as video:
        for index in range(5):
            video.write(photos[index % 4][:240, :320, ::-1], index * 40)
    words = "--steps 4 --batch 4 --network.width 8 --discriminator-width 8 --load-size 64 --crop-size 64"
    run = ["train", "dcgan", "--data", str(folder / "photos"), "--out", str(folder / "out" / "faces")]
    assert main([*run, *words.split()]) == 0
    return folder


def test_the_shell_and_python_do_the_same(
    root: Path, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (root / "README.md").read_text(encoding="utf-8").split("## From the shell and from Python")[1]
    rows = re.findall(r"^\| ([\w ]+) \| `i2i ([^`]+)` \| `([^`]+)` \|$", text, re.MULTILINE)
    assert [task for task, *_ in rows] == ["export", "run a video", "verify", "train", "sample"]
    names: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0], names)
    for side in ("shell", "python"):
        monkeypatch.chdir(shutil.copytree(inputs, tmp_path / side))
        for task, command, code in rows:
            if side == "python":
                exec(code, names)
            else:
                assert main(shlex.split(command)) == 0, task
    shell, python = tmp_path / "shell", tmp_path / "python"
    first, second = (Bundle.read(folder / "zebra.i2i").manifest for folder in (shell, python))
    assert [v.name for v in first.variants] == [v.name for v in second.variants]
    assert {v.precision for v in first.variants} >= {"fp32", "int8"} and first.model == second.model
    name = "out/maps/latest_net_G.safetensors"
    assert (shell / name).read_bytes() == (python / name).read_bytes()
    with VideoReader(shell / "out.mp4") as one, VideoReader(python / "out.mp4") as other:
        for frame, same in zip(one, other, strict=True):
            assert psnr(frame.image, same.image) > 35
    grid = io.imread(shell / "faces.png")
    assert (grid[: names["images"].shape[1], : names["images"].shape[2]] == names["images"][0]).all()


def test_demo_leaves_a_video_and_a_picture(root: Path) -> None:
    subprocess.run([sys.executable, str(root / "examples" / "demo.py")], check=True, capture_output=True)
    capture = cv2.VideoCapture(str(root / "out" / "demo.mp4"))
    figures = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS)
    assert [capture.get(figure) for figure in figures] == [1280, 480, 30]
    code = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode()
    assert code.lower() in ("h264", "avc1")
    assert cv2.imread(str(root / "out" / "demo.png")) is not None


@pytest.mark.parametrize("package", ["i2i_sdk", "i2i_export", "i2i_training"])
def test_examples_in_docstrings_are_true(package: str) -> None:
    tried = 0
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        if not module.name.endswith("__main__"):
            result = doctest.testmod(importlib.import_module(module.name), extraglobs={"np": np})
            assert result.failed == 0, module.name
            tried += result.attempted
    assert tried > 0
