"""Side by side, or ordinary photos: what is taken for pairs."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_folders import make_noise, write_image
from test_layout import assert_refused, load_held_out, make_options

from i2i_sdk.errors import TrainingError
from i2i_training.data import TrainingData, read_held_out

SHAPES = {  # height, width of images that look like no pairs
    "square": [(64, 64)],
    "odd square": [(65, 65)],
    "tall": [(64, 48)],
    "very tall": [(90, 32)],
    "photos": [(48, 64)],
    "wide screen": [(36, 64)],
    "panoramas": [(32, 80)],
    "just too narrow": [(40, 75)],
    "just too wide": [(40, 85)],
    "many": [(48, 64), (64, 48), (40, 60), (50, 50)],
}


def write_shapes(folder: Path, shapes: list[tuple[int, int]], count: int = 12) -> Path:
    for index in range(count):
        write_image(folder / f"{index}.png", make_noise(*shapes[index % len(shapes)], seed=index))
    return folder


@pytest.mark.parametrize("kind", ["paired", "unpaired"])
@pytest.mark.parametrize("name", SHAPES)
def test_ordinary_photos_are_no_pairs(name: str, kind: str, tmp_path: Path) -> None:
    """Neither with a split nor without, and whatever is bad about them."""
    for folder in ("flat", "split/train", "split/val"):
        write_shapes(tmp_path / folder, SHAPES[name])
    parts = "not about twice as wide as high", "--layout side-by-side", "trainA/ and trainB/"
    for root, count in ((tmp_path / "flat", 10), (tmp_path / "split", 12)):
        for skip_bad in (False, True):
            said = assert_refused(root, f"{count} of {count} images", *parts, kind=kind, skip_bad=skip_bad)
            assert "\n" not in said
        with pytest.raises(TrainingError, match="--layout side-by-side"):
            load_held_out(root, kind)


@pytest.mark.parametrize("shape", [(40, 76), (40, 80), (40, 84), (41, 80)])
def test_images_about_twice_as_wide_as_high_are_pairs(shape: tuple[int, int], tmp_path: Path) -> None:
    write_shapes(tmp_path, [shape], 4)
    TrainingData(make_options(tmp_path), "paired", 1, 0).close()


def test_mixed_shapes_are_counted(tmp_path: Path) -> None:
    write_shapes(tmp_path / "train", [(40, 80), (40, 80), (40, 40)])
    assert_refused(tmp_path, "4 of 10 images read so far", "is 40x40)")


@pytest.mark.parametrize(
    "name", [name for name in SHAPES if name not in ("odd square", "just too narrow", "just too wide")]
)
def test_any_shape_may_be_named_side_by_side(name: str, tmp_path: Path) -> None:
    write_shapes(tmp_path, SHAPES[name])
    write_shapes(tmp_path / "trainA", [(40, 40)])
    write_shapes(tmp_path / "trainB", [(40, 40)])
    options = make_options(tmp_path, layout="side-by-side")
    data = TrainingData(options, "paired", 1, 0)
    assert data.description == f"10 pairs: side-by-side images of {tmp_path}"
    height, width = SHAPES[name][0]
    assert read_held_out(options, "paired", 1, 1).inputs[0].shape == (height, width // 2, 3)
    assert TrainingData(make_options(tmp_path), "paired", 1, 0).description.startswith("10 pairs: folders")


def test_a_single_domain_is_not_side_by_side(tmp_path: Path) -> None:
    write_shapes(tmp_path, [(40, 40)])
    TrainingData(make_options(tmp_path), "single", 1, 0).close()
    assert_refused(tmp_path, "this recipe takes one domain", kind="single", layout="side-by-side")
