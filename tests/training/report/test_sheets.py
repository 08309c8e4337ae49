"""Sheets of pictures: what stands where, and what cannot be laid out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from i2i_training.run.sample_grids import draw_sample_grid, draw_sample_sheet

Image = NDArray[np.uint8]


def make_plain_image(color: tuple[int, ...], height: int = 256, width: int = 256) -> Image:
    return np.full((height, width, len(color)), color, np.uint8)


RED, GREEN, BLUE = make_plain_image((200, 0, 0)), make_plain_image((0, 200, 0)), make_plain_image((0, 0, 200))


def test_columns_stand_in_order_under_their_names() -> None:
    sheet = draw_sample_grid({"input": [RED, GREEN], "output": [BLUE, RED]})
    assert sheet.dtype == np.uint8
    cells = sheet[-2 * 260 :, 4:].reshape(2, 260, 2, 260, 3)
    for row, column, image in ((0, 0, RED), (0, 1, BLUE), (1, 0, GREEN), (1, 1, RED)):
        assert (cells[row, :256, column, :256] == image).all()
        assert (cells[row, 256:, column] == 255).all()  # the gutter
    strips = sheet[: -2 * 260, 4:].reshape(-1, 2, 260, 3)
    assert (strips.min(axis=(0, 2, 3)) < 100).all()  # each has dark letters
    assert not np.array_equal(strips[:, 0], strips[:, 1])


def test_a_name_stays_above_its_own_column() -> None:
    short = draw_sample_grid({"a": [RED], "b": [RED]})
    long = draw_sample_grid({"a": [RED], "a very long name that no column has room for": [RED]})
    assert short.shape == long.shape
    assert np.array_equal(short[:, :262], long[:, :262])
    assert (long[:46, -6:] == 255).all()


def test_pictures_of_other_sizes_keep_their_proportions() -> None:
    sheet = draw_sample_grid(
        {"a": [make_plain_image((200, 0, 0), 256, 128)], "b": [make_plain_image((0, 200, 0), 100, 200)]}
    )
    area = [(sheet == color).all(axis=2) for color in ((200, 0, 0), (0, 200, 0))]
    sides = [(where.any(axis=1).sum(), where.any(axis=0).sum()) for where in area]
    assert sides == [(256, 128), (100, 200)]


def test_large_pictures_are_reduced_and_tiny_ones_enlarged_without_smoothing() -> None:
    assert draw_sample_sheet([make_plain_image((1, 2, 3), 1024, 512)], 1).shape == (4 + 260, 4 + 132, 3)
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    sheet = draw_sample_sheet([noise], 1)
    assert np.array_equal(sheet[4:132, 4:132], noise.repeat(4, axis=0).repeat(4, axis=1))


def test_gray_becomes_rgb() -> None:
    sheet = draw_sample_sheet([make_plain_image((90,))], 1)
    assert (sheet[4:260, 4:260] == 90).all()


def test_a_sheet_has_its_columns_and_empty_places() -> None:
    five = draw_sample_sheet([RED] * 5, columns=3)
    assert five.shape == (4 + 2 * 260, 4 + 3 * 260, 3)
    assert (five[4 + 260 :, 4 + 2 * 260 :] == 255).all()  # the place of the sixth
