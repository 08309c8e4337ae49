"""The trained full-size networks that exports and benchmarks are judged on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lightning.fabric import Fabric

from i2i_training.checkpoint import load_generator
from i2i_training.data import DataOptions, read_held_out
from i2i_training.metrics import compute_paired_scores
from i2i_training.networks import ResnetConfig, UnetConfig, count_parameters
from i2i_training.run.evaluation import translate_images

MODELS = {"maps_unet256": (UnetConfig(), 54.41), "maps_resnet9": (ResnetConfig(), 11.38)}


@pytest.mark.parametrize("name", MODELS)
def test_they_are_of_full_width_and_translate_photos(name: str, root: Path, shared_data: Path) -> None:
    config, millions = MODELS[name]
    module, spec = load_generator(root / "models" / name / "latest_net_G.safetensors")
    assert spec.config == config
    assert count_parameters(module) / 1e6 == pytest.approx(millions, abs=0.01)
    assert (spec.recipe, spec.license) == ("pix2pix", "research-only")

    options = DataOptions(str(shared_data / "maps_ab512"), load_size=256)
    held_out = read_held_out(options, "paired", 256, 256, max_images=6)
    outputs = translate_images(module, held_out.inputs, Fabric(accelerator="cpu", devices=1))
    scores = compute_paired_scores(outputs, held_out.targets)
    assert scores["l1"] < 16 and scores["ssim"] > 0.5, scores
    assert np.mean(outputs) > 200  # maps are bright, aerial photos dark


def test_packed_weights_are_not_on_a_grid_that_int8_holds_exactly(root: Path) -> None:
    """Else quantizing them would look better than it is."""
    module, _ = load_generator(root / "models" / "maps_resnet9" / "latest_net_G.safetensors")
    errors = []
    for weight in (p.detach().numpy() for p in module.parameters() if p.ndim == 4 and p.numel() > 10**5):
        step = np.abs(weight).max(axis=(1, 2, 3), keepdims=True) / 127
        errors.append(np.abs(weight / step - np.rint(weight / step)).mean())
    assert np.mean(errors) > 0.15  # of a step; evenly spread weights have 0.25
