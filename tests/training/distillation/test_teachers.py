"""Teachers: functions, checkpoints, bundles and ONNX files, and the sizes at which they see photos."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_files import save_network

from i2i_sdk import Translator
from i2i_sdk.errors import BundleError, CheckpointError, TrainingError
from i2i_sdk.files import hash_file
from i2i_training.checkpoint import LATEST, load_generator
from i2i_training.data import normalize_images, to_images, to_tensor
from i2i_training.data.image_tensors import Image
from i2i_training.distillation.teachers import Teacher, fit_to_teacher, is_mirror_safe, open_teacher
from i2i_training.networks import ResnetConfig, UnetConfig
from tests.sdk.known_bundles import HEIGHT, WIDTH, make_noise, save_affine, save_graph, write_known_bundle

FUNCTIONS = """
from helper_of_a_teacher import WHITE
import numpy as np

def invert(image):
    return WHITE - image

def scribble(image):
    image[:] = 0
    return image

def enlarge(image):
    return np.repeat(image, 2, axis=0)

def to_float(image):
    return image / 255

def to_list(image):
    return image.tolist()

def to_gray(image):
    return image[..., 0]

number = 3
"""


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    """A file of functions that imports its neighbor."""
    (tmp_path / "helper_of_a_teacher.py").write_text("WHITE = 255\n")
    path = tmp_path / "functions.py"
    path.write_text(FUNCTIONS)
    return path


def make_teacher(translate: Any = lambda image: image, **known: Any) -> Teacher:
    return Teacher("test", translate, **known)


# ---------------------------------------------------------------- functions


def test_a_function_is_a_teacher(functions: Path) -> None:
    path = list(sys.path)
    teacher = open_teacher(f"{functions}:invert")
    image = make_noise(20, 30, 3)
    assert np.array_equal(teacher.translate(image), 255 - image)
    assert (teacher.name, teacher.fingerprint) == ("functions.py:invert", hash_file(functions))
    assert (teacher.multiple_of, teacher.size, teacher.checkpoint) == (1, None, None)
    assert sys.path == [str(functions.parent), *path]  # for what it imports when it is called
    sys.path.pop(0)
    sys.modules.pop("helper_of_a_teacher")


def test_a_function_cannot_change_the_photo(functions: Path) -> None:
    image = make_noise(20, 30, 3)
    before = image.copy()
    assert not open_teacher(f"{functions}:scribble").translate(image).any()
    assert np.array_equal(image, before)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("enlarge", r"gave uint8 \(40, 30, 3\) for uint8 \(20, 30, 3\); a teacher gives uint8 RGB of the"),
        ("to_float", r"gave float64 \(20, 30, 3\) for"),
        ("to_list", "gave list  for"),
        ("to_gray", r"gave uint8 \(20, 30\) for"),
    ],
)
def test_what_is_no_picture_is_refused(functions: Path, name: str, message: str) -> None:
    teacher = open_teacher(f"{functions}:{name}")
    with pytest.raises(TrainingError, match=rf"functions.py:{name} {message}"):
        teacher.translate(make_noise(20, 30, 3))


@pytest.mark.parametrize("name", ["absent", "number"])
def test_a_missing_function_is_named_with_those_there_are(functions: Path, name: str) -> None:
    message = rf"functions.py:{name}: no such function; in the file: invert, scribble"
    with pytest.raises(TrainingError, match=message):
        open_teacher(f"{functions}:{name}")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"absent.py:f: there is no file .*absent.py"):
        open_teacher(f"{tmp_path / 'absent.py'}:f")


def test_a_function_may_stand_beside_a_dataclass(tmp_path: Path) -> None:
    path = tmp_path / "styled.py"
    path.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n\n"
        "@dataclass\nclass Style:\n    white: int = 255\n\n"
        "def invert(image):\n    return Style().white - image\n"
    )
    image = make_noise(8, 8, 3)
    assert np.array_equal(open_teacher(f"{path}:invert").translate(image), 255 - image)


# ---------------------------------------------------------------- checkpoints, bundles, ONNX


@pytest.mark.parametrize("is_run", [False, True])
def test_a_checkpoint_is_a_teacher(is_run: bool, tmp_path: Path) -> None:
    """Its file, or the folder of the run that left it."""
    file = tmp_path / f"{LATEST}.safetensors"
    save_network(file, ResnetConfig(width=2, blocks=1), license="CC0", trained_on="spots")
    teacher = open_teacher(str(tmp_path if is_run else file))
    module, spec = load_generator(file)
    image = make_noise(16, 24, 3)
    with torch.no_grad():
        expected = to_images(module(normalize_images(to_tensor([image]))))[0]
    assert np.abs(teacher.translate(image).astype(int) - expected).max() <= 1
    assert expected.std() > 5
    assert (teacher.checkpoint, teacher.multiple_of, teacher.size) == (file, 4, None)
    assert teacher.license == "CC0"
    assert teacher.fingerprint == spec.source_sha256 == hash_file(file)


def test_the_sides_that_a_checkpoint_takes(tmp_path: Path) -> None:
    path = tmp_path / "unet.safetensors"
    save_network(path, UnetConfig(width=1, downs=5))
    assert open_teacher(str(path)).multiple_of == 32


@pytest.mark.parametrize("channels", [(1, 3), (3, 1)])
def test_students_are_of_rgb(channels: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_network(path, ResnetConfig(*channels, width=2, blocks=1))
    message = rf"net.safetensors: maps {channels[0]} to {channels[1]} channels; students map RGB"
    with pytest.raises(TrainingError, match=message):
        open_teacher(str(path))


@pytest.mark.parametrize(
    ("name", "expected"), [("invert", lambda x: 255 - x), ("swap", lambda x: x[..., ::-1])]
)
def test_a_bundle_is_a_teacher(name: str, expected: Any, tmp_path: Path) -> None:
    path = tmp_path / "known.i2i"
    write_known_bundle(path, name, engines=[("ort", "fp32")], source_sha256="ab" * 32)
    teacher = open_teacher(str(path))
    image = make_noise(HEIGHT, WIDTH, 3)
    assert np.array_equal(teacher.translate(image), expected(image))
    assert (teacher.name, teacher.size, teacher.checkpoint) == ("known.i2i", (HEIGHT, WIDTH), None)
    assert teacher.license == "Apache-2.0"
    assert teacher.fingerprint == "ab" * 32


def test_an_onnx_file_is_a_teacher_by_its_contract(tmp_path: Path) -> None:
    """-x in -1..1, and red halved, in BGR."""
    path = save_affine(tmp_path / "x.onnx", [-1, -1, -0.5], [0, 0, -0.5])
    contract = {"input_range": (-1, 1), "output_range": (-1, 1), "layout": "nchw", "channel_order": "bgr"}
    teacher = open_teacher(str(path), **contract)
    image = make_noise(HEIGHT, WIDTH, 3)
    expected = np.concatenate([(255 - image[..., :1]) / 2, 255 - image[..., 1:]], axis=-1)
    assert np.abs(teacher.translate(image) - expected).max() <= 1
    assert teacher.size == (HEIGHT, WIDTH) and teacher.fingerprint == hash_file(path)
    with pytest.raises(TrainingError, match=r"teacher .*x.onnx: takes float32 .*; give input_range"):
        open_teacher(str(path))


def test_an_onnx_file_with_the_engines_contract_needs_none(tmp_path: Path) -> None:
    path = save_graph(tmp_path / "x.onnx", "invert", batch=1)
    image = make_noise(HEIGHT, WIDTH, 3)
    assert np.array_equal(open_teacher(str(path)).translate(image), 255 - image)


def test_an_onnx_file_of_any_size_runs_at_the_students(tmp_path: Path) -> None:
    path = save_affine(tmp_path / "x.onnx", [-1, -1, -1], [0, 0, 0], size=("h", "w"))
    contract = {"input_range": (-1, 1), "output_range": (-1, 1), "layout": "nchw", "channel_order": "rgb"}
    teacher = open_teacher(str(path), side=48, **contract)
    assert teacher.size == (48, 48)
    image = make_noise(48, 48, 3)
    assert np.abs(teacher.translate(image) - (255.0 - image)).max() <= 1
    with pytest.raises(TrainingError, match=r"teacher .*x.onnx: takes float32 .*; give input_range"):
        open_teacher(str(path))


def test_a_bundle_teaches_in_float_at_its_best_size() -> None:
    """A name of the zoo is a bundle, too."""
    for side, expected in ((512, 512), (300, 256), (64, 128)):
        assert open_teacher("sketch", side).size == (expected, expected)
    image = make_noise(128, 128, 3)
    with Translator("sketch", precision="fp32", size=128) as translate:
        assert np.array_equal(open_teacher("sketch", 128).translate(image), translate(image, color="rgb"))


def test_conventions_are_of_onnx_files(functions: Path) -> None:
    message = r"functions.py:invert: is no ONNX file; --input-range, --layout are for these"
    with pytest.raises(TrainingError, match=message):
        open_teacher(f"{functions}:invert", input_range=(0, 255), layout="nchw")


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        (
            "x.txt",
            TrainingError,
            r"teacher .*x.txt: give a checkpoint \(.safetensors, .pth, or a run's folder\)",
        ),
        ("functions.py", TrainingError, r"FILE.py:FUNCTION, or a name of the zoo"),
        ("", TrainingError, "give a checkpoint"),
        ("absent.i2i", BundleError, r"absent.i2i: no such folder"),
        ("absent.safetensors", CheckpointError, r"absent.safetensors: no such file"),
    ],
)
def test_what_is_no_teacher(name: str, error: type[Exception], message: str, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(error, match=message):
        open_teacher(str(tmp_path / name))


# ---------------------------------------------------------------- mirroring and sizes


def draw_gradient(image: Image) -> Image:
    ramp = np.linspace(0, 100, image.shape[1])[:, None]
    return (image / 2 + ramp).astype(np.uint8)


@pytest.mark.parametrize(
    ("translate", "is_safe"),
    [
        (lambda image: 255 - image, True),
        (lambda image: np.maximum(image[::-1], 9), True),
        (draw_gradient, False),
        (lambda image: np.roll(image, 5, axis=1), False),
        (lambda image: image // 2 + (np.arange(image.shape[1]) % 2 * 2)[:, None].astype(np.uint8), True),
    ],
)
def test_mirroring_is_safe_where_the_picture_is_mirrored_too(translate: Any, is_safe: bool) -> None:
    """But for two gray levels."""
    assert is_mirror_safe(make_teacher(translate), make_noise(24, 40, 3)) == is_safe


@pytest.mark.parametrize(
    ("sides", "side", "multiples", "expected"),
    [
        ((600, 900), 512, (1, 8), (512, 768)),
        ((900, 600), 512, (1, 8), (768, 512)),
        ((600, 801), 512, (1, 8), (512, 680)),  # 684, cut
        ((300, 401), 512, (1, 8), (296, 400)),  # never enlarged
        ((300, 401), 512, (32, 8), (288, 384)),
        ((300, 401), 512, (12, 8), (288, 384)),  # of both: 24
        ((20, 401), 512, (32, 8), None),
    ],
)
def test_photos_fit_teachers_of_any_size(
    sides: tuple[int, int], side: int, multiples: tuple[int, int], expected: tuple[int, int] | None
) -> None:
    teacher = make_teacher(multiple_of=multiples[0])
    image = make_noise(*sides, 3)
    found = fit_to_teacher(image, teacher, side, multiples[1])
    if expected is None:
        assert found is None
        return
    assert found is not None and found.shape == (*expected, 3) and found.flags.c_contiguous
    if min(sides) <= side:
        assert np.array_equal(found, image[: expected[0], : expected[1]])  # untouched but for the cut


@pytest.mark.parametrize("sides", [(48, 200), (100, 80), (24, 40), (49, 81)])
def test_photos_fit_the_only_size_of_a_teacher(sides: tuple[int, int]) -> None:
    """The middle, as large as possible; not 8-fold, since the teacher decides."""
    rows, columns = (np.linspace(0, 255, side) for side in sides)
    image = np.stack([*np.meshgrid(rows, columns, indexing="ij"), np.zeros(sides)], -1).astype(np.uint8)
    found = fit_to_teacher(image, make_teacher(size=(24, 40)), 512, 16)
    assert found is not None and found.shape == (24, 40, 3) and found.flags.c_contiguous
    spans = [found[:, 0, 0].astype(int), found[0, :, 1].astype(int)]
    scale = max(24 / sides[0], 40 / sides[1])
    for span, side, length in zip(spans, sides, (24, 40), strict=True):
        kept = 255 * length / (side * scale)
        assert span[-1] - span[0] == pytest.approx(kept, abs=0.06 * 255)
        assert span[-1] + span[0] == pytest.approx(255, abs=12)  # the middle


@pytest.mark.parametrize("sides", [(23, 100), (100, 39), (10, 10)])
def test_photos_that_would_be_enlarged_are_left_out(sides: tuple[int, int]) -> None:
    assert fit_to_teacher(make_noise(*sides, 3), make_teacher(size=(24, 40)), 512, 8) is None
