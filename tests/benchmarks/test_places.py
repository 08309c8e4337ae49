"""Where the suite looks for checkpoints and images."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.places import shared_data, shared_file, trained
from i2i_sdk.zoo import ZOO


@pytest.mark.parametrize("name", [*ZOO, "maps_resnet9", "maps_unet256"])
def test_trained_checkpoints_are_in_the_repository(name: str) -> None:
    assert trained(name).is_file()


def test_shared_data_are_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    monkeypatch.setenv("I2I_SHARED_DATA", str(tmp_path))
    assert shared_data() == tmp_path.resolve()
    assert shared_file("photos") == tmp_path.resolve() / "photos"
    assert shared_file("clips") is None


def test_without_shared_data_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("I2I_SHARED_DATA", str(tmp_path / "nowhere"))
    assert shared_data() is None
    assert shared_file("photos") is None
