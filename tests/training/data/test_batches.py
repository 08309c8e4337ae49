"""Batches: crops that fit each other, order, exact resume, shares of several processes, threads."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from data_folders import make_located_image, write_image, write_pairs
from torch import Tensor

from i2i_sdk.errors import TrainingError
from i2i_training.data import Batch, DataOptions, TrainingData

OPTIONS = DataOptions(load_size=None, crop_size=16)
CACHE_ALL_GB, CACHE_NONE_GB = 4.0, 0.0


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pairs, `make_located_image` images and their negatives."""
    root = tmp_path_factory.mktemp("pairs")
    for split in ("train", "val"):
        write_pairs(root / split, 5)
    return root


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four images of A and seven of B, of different sizes."""
    root = tmp_path_factory.mktemp("photos")
    for n in range(4):
        write_image(root / "trainA" / f"a{n}.png", make_located_image(n, 40 + n, 48 - n))
    for n in range(7):
        write_image(root / "trainB" / f"b{n}.png", make_located_image(100 + n, 30 + n, 50))
    write_image(root / "testA" / "t.png", make_located_image(9))
    return root


def open_data(root: Path, kind: str, batch: int = 2, seed: int = 0, **changes: object) -> TrainingData:
    options = replace(OPTIONS, data=str(root), **{"noise": 0.0, **changes})
    return TrainingData(options, kind, batch, seed)


def to_levels(images: Tensor) -> Tensor:
    """uint8 levels 0..255 of a batch."""
    assert images.dtype == torch.float32
    return ((images + 1) * 127.5).round().long()


def find_numbers(images: Tensor) -> list[int]:
    """Which image each crop is of."""
    return [int(image[2, 0, 0]) for image in to_levels(images)]


def is_same_batch(one: Batch, other: Batch) -> bool:
    if one.a is None or other.a is None:
        return one.a is other.a and torch.equal(one.b, other.b)
    return torch.equal(one.b, other.b) and torch.equal(one.a, other.a)


# ---------------------------------------------------------------- what a batch is


@pytest.mark.parametrize("cache_gb", [CACHE_ALL_GB, CACHE_NONE_GB])
@pytest.mark.parametrize("flip", [False, True])
def test_crop_and_flip_are_the_same_for_both_of_a_pair(flip: bool, cache_gb: float, pairs: Path) -> None:
    data = open_data(pairs, "paired", flip=flip, cache_gb=cache_gb)
    flips, corners = set[bool](), set[tuple[int, int]]()
    for _ in range(60):
        batch = data.next("cpu")
        a, b = to_levels(batch.a), to_levels(batch.b)
        assert a.shape == b.shape == (2, 3, 16, 16)
        assert torch.equal(b, 255 - a)
        for rows, columns, number in a:
            step = int(columns[0, 1]) - int(columns[0, 0])
            top, left = int(rows.min()), int(columns.min())
            flips.add(step == -1)
            corners.add((top, left))
            expected = torch.arange(left, left + 16).flip(0) if step < 0 else torch.arange(left, left + 16)
            assert torch.equal(columns, expected.expand(16, 16))  # one solid crop
            assert torch.equal(rows, torch.arange(top, top + 16)[:, None].expand(16, 16))
            assert len(number.unique()) == 1
    data.close()
    assert flips == ({True, False} if flip else {False})
    assert len(corners) > 50
    tops, lefts = (set(places) for places in zip(*corners, strict=True))
    assert tops >= {0, 24} and lefts >= {0, 32}  # the first and the last that are possible


def test_direction_swaps_the_domains(pairs: Path) -> None:
    one, other = (open_data(pairs, "paired", direction=d).next("cpu") for d in ("AtoB", "BtoA"))
    assert is_same_batch(one, Batch(other.b, other.a))


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 7, 12])
def test_every_pair_is_seen_once_before_any_is_seen_twice(batch: int, pairs: Path) -> None:
    data = open_data(pairs, "paired", batch)
    seen: list[int] = []
    for _ in range(30):
        numbers = find_numbers(data.next("cpu").a)
        assert len(numbers) == batch
        seen += numbers
    rounds = [seen[i : i + 5] for i in range(0, len(seen) - 4, 5)]
    assert all(sorted(r) == [0, 1, 2, 3, 4] for r in rounds)
    assert len({tuple(r) for r in rounds}) > 1  # in a new order each time


def test_unpaired_domains_have_orders_and_crops_of_their_own(photos: Path) -> None:
    data = open_data(photos, "unpaired", 2, flip=False)
    batches = [data.next("cpu") for _ in range(14)]
    a = [number for batch in batches for number in find_numbers(batch.a)]
    b = [number for batch in batches for number in find_numbers(batch.b)]
    assert all(sorted(a[i : i + 4]) == [0, 1, 2, 3] for i in range(0, 28, 4))
    assert all(sorted(b[i : i + 7]) == list(range(100, 107)) for i in range(0, 28, 7))
    assert any(not torch.equal(to_levels(x.a)[:, :2], to_levels(x.b)[:, :2]) for x in batches)
    assert "4 + 7 images" in data.description


def test_all_randomness_comes_from_the_seed(pairs: Path) -> None:
    def run(seed: int) -> list[Batch]:
        torch.manual_seed(int(np.random.default_rng().integers(2**31)))
        data = open_data(pairs, "paired", 2, seed, jitter=0.2)
        return [data.next("cpu") for _ in range(6)]

    first, again, other = run(1), run(1), run(2)
    assert all(is_same_batch(x, y) for x, y in zip(first, again, strict=True))
    assert not any(is_same_batch(x, y) for x, y in zip(first, other, strict=True))


def test_jitter_changes_photos_and_never_label_maps(pairs: Path) -> None:
    plain = open_data(pairs, "paired").next("cpu")
    for labels, changed in (("none", (True, True)), ("A", (False, True)), ("B", (True, False))):
        for direction in ("AtoB", "BtoA"):
            batch = open_data(pairs, "paired", labels=labels, jitter=0.5, direction=direction).next("cpu")
            a, b = (batch.a, batch.b) if direction == "AtoB" else (batch.b, batch.a)
            same = [torch.equal(to_levels(x), to_levels(y)) for x, y in ((a, plain.a), (b, plain.b))]
            assert same == [not change for change in changed]


def test_label_maps_get_no_new_colors_when_they_are_stretched(tmp_path: Path) -> None:
    stripes = np.zeros((24, 24, 3), np.uint8)
    stripes[:, ::3] = 255
    for name in ("one", "two"):
        write_image(tmp_path / f"{name}.png", np.hstack([stripes, stripes]))
    batch = open_data(tmp_path, "paired", load_size=40, crop_size=40, labels="B").next("cpu")
    assert set(to_levels(batch.b).unique().tolist()) == {0, 255}
    assert len(to_levels(batch.a).unique()) > 2


# ---------------------------------------------------------------- going on


def save_state(data: TrainingData) -> dict:
    """The state after a way through a file that is read without unpickling anything."""
    file = BytesIO()
    torch.save(data.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("kind", ["paired", "unpaired", "single"])
@pytest.mark.parametrize("cache_gb", [CACHE_ALL_GB, CACHE_NONE_GB, 12e-6])  # the last keeps some images
def test_resume_is_exact(kind: str, cache_gb: float, pairs: Path) -> None:
    data = open_data(pairs, kind, 3, cache_gb=cache_gb, jitter=0.2)
    for _ in range(5):
        data.next("cpu")
    state = save_state(data)
    expected = [data.next("cpu") for _ in range(5)]
    data.load_state_dict(state)  # back, with batches already on their way
    again = [data.next("cpu") for _ in range(5)]
    data.close()
    other = open_data(pairs, kind, 3, seed=9, cache_gb=CACHE_ALL_GB, jitter=0.2)
    other.load_state_dict(state)
    resumed = [other.next("cpu") for _ in range(5)]
    assert all(is_same_batch(x, y) for x, y in zip(expected, again, strict=True))
    assert all(is_same_batch(x, y) for x, y in zip(expected, resumed, strict=True))


def test_a_state_of_other_images_is_refused(pairs: Path, tmp_path: Path) -> None:
    state = open_data(pairs, "paired").state_dict()
    shutil.copytree(pairs, tmp_path / "copy")
    open_data(tmp_path / "copy", "paired").load_state_dict(state)  # where they are does not matter
    (tmp_path / "copy" / "train" / "image0.png").unlink()
    fewer = open_data(tmp_path / "copy", "paired")
    with pytest.raises(TrainingError, match="5 targets where there are 4"):
        fewer.load_state_dict(state)
    with pytest.raises(TrainingError, match="another direction"):
        open_data(pairs, "paired", direction="BtoA").load_state_dict(state)


# ---------------------------------------------------------------- processes and threads


@pytest.mark.parametrize("kind", ["paired", "unpaired"])
@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_what_one_would_see(kind: str, world: int, photos: Path, pairs: Path) -> None:
    root = pairs if kind == "paired" else photos
    options = replace(OPTIONS, data=str(root), jitter=0.3)
    alone = TrainingData(options, kind, 6, 4)
    shares = [TrainingData(options, kind, 6, 4, rank, world) for rank in range(world)]
    for _ in range(8):
        whole, parts = alone.next("cpu"), [share.next("cpu") for share in shares]
        assert all(len(part.b) == 6 // world for part in parts)
        a = torch.cat([part.a for part in parts])
        assert is_same_batch(whole, Batch(a, torch.cat([part.b for part in parts])))
    with pytest.raises(TrainingError, match="batch is 5; it must be a multiple"):
        TrainingData(options, kind, 5, 0, 0, world)


def list_data_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("i2i-data")]


def test_no_thread_survives(photos: Path) -> None:
    before = threading.active_count()
    kept = open_data(photos, "unpaired")
    kept.next("cpu")
    assert threading.active_count() == before  # what is in memory needs none
    data = open_data(photos, "unpaired", cache_gb=CACHE_NONE_GB)
    data.next("cpu")
    assert list_data_threads()
    data.close()
    data.close()
    kept.close()
    assert threading.active_count() == before


def test_images_that_are_not_kept_are_cut_as_those_that_are(photos: Path) -> None:
    kept = open_data(photos, "unpaired", 3, load_size=20)
    decoded = open_data(photos, "unpaired", 3, load_size=20, cache_gb=CACHE_NONE_GB)
    assert all(is_same_batch(kept.next("cpu"), decoded.next("cpu")) for _ in range(10))
    assert kept.wait_s > 0
    decoded.close()


def test_a_file_that_vanishes_is_named(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "copy")
    data = open_data(tmp_path / "copy", "unpaired", cache_gb=CACHE_NONE_GB)
    (tmp_path / "copy" / "trainB" / "b3.png").unlink()
    with pytest.raises(TrainingError, match=r"b3\.png: cannot be read.*good when training began"):
        for _ in range(10):
            data.next("cpu")
    data.close()


def test_batches_do_not_change_the_images(pairs: Path) -> None:
    data = open_data(pairs, "paired", 5, crop_size=40, flip=False)
    data.next("cpu").b.zero_()
    for batch in (data.next("cpu") for _ in range(3)):
        assert torch.equal(to_levels(batch.b), 255 - to_levels(batch.a))
