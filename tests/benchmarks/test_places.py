"""Where the suite looks for checkpoints and images."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.support.places import (
    find_shared_file,
    get_trained_checkpoint,
    list_runnable_variants,
    name_subject,
)
from i2i_sdk.zoo import ZOO


@pytest.mark.parametrize("name", [*ZOO, "maps_resnet9", "maps_unet256"])
def test_trained_checkpoints_are_in_the_repository(name: str) -> None:
    assert get_trained_checkpoint(name).is_file()


def test_shared_data_are_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    monkeypatch.setenv("I2I_SHARED_DATA", str(tmp_path))
    assert find_shared_file("photos") == tmp_path.resolve() / "photos"
    assert find_shared_file("clips") is None


def test_a_checkpoint_is_called_by_its_folder_if_its_own_name_says_nothing() -> None:
    assert name_subject(Path("runs/maps_resnet9/latest_net_G.safetensors")) == "maps_resnet9"
    assert name_subject(Path("runs/horse2zebra/latest_net_G_A.pth")) == "horse2zebra"
    assert name_subject(Path("downloads/style_mosaic.pth")) == "style_mosaic"


def test_runnable_variants_are_those_of_one_size_that_load_here() -> None:
    variants = list_runnable_variants("sketch", 256)
    assert ("ort", "fp32") in {(v.backend, v.precision) for v in variants}
    assert "web" not in {v.backend for v in variants}
    assert {(v.height, v.width) for v in variants} == {(256, 256)}
