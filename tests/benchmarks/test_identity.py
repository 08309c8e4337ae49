"""The engines that show what the loop and the server cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.support.identity import SLOW_S, SlowEngine, write_identity
from i2i_sdk import Translator


@pytest.mark.parametrize("kind", [Translator, SlowEngine])
def test_what_goes_in_comes_out(kind: type[Translator], tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    with kind(write_identity(tmp_path / "identity.onnx", 48, 64)) as translate:
        outputs, timings = translate.timed([image, image])
        assert all(np.array_equal(output, image) for output in outputs)
        assert np.array_equal(translate(image), image)
        assert (translate.height, translate.width) == (48, 64)
    assert kind is Translator or timings.engine_ms >= SLOW_S * 1000  # it is counted as the engine's
