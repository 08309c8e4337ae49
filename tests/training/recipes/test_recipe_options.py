"""What the options of recipes allow and refuse, and how learning rates are set."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_recipe import OPTIONS, TINY_D, make_recipe

from i2i_sdk.errors import TrainingError
from i2i_training.losses.gan import GAN_OBJECTIVES
from i2i_training.networks import EncoderDecoderConfig, ResnetConfig
from i2i_training.recipes.parts import DiscriminatorOptions, OptimOptions


def test_learning_rate_reaches_every_optimizer() -> None:
    recipe = make_recipe("cyclegan")
    recipe.set_learning_rate(0.25)
    recipe.set_learning_rate(0.5)  # of the option, not of what it was
    for optimizer in recipe.optimizers.values():
        assert [group["lr"] for group in optimizer.param_groups] == [5e-4]


def make_change(name: str, **changes: Any) -> Any:
    return lambda: replace(OPTIONS[name], **changes)


MODES = ", ".join(GAN_OBJECTIVES)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_change("unit", gan_mode="wgan"), f"gan_mode is 'wgan'; allowed: {MODES}"),
        (make_change("pix2pix", lambda_l1=-1.0), "lambda_l1 is -1.0; a loss weight is 0 or more"),
        (make_change("pix2pix", lambda_gan=float("nan")), "lambda_gan is nan; a loss weight is 0 or more"),
        (make_change("cyclegan", pool_size=-1), "pool_size is -1; 0 or more"),
        (make_change("cut", patches=1), "patches is 1 .* at least 2 patches"),
        (make_change("cut", temperature=0.0), "temperature 0.0; needed: .* a positive temperature"),
        (make_change("distill", gan_from=1.1), "gan_from is 1.1; it is a share of the run, 0 to 1"),
        (make_change("distill", gan_from=-0.1), "gan_from is -0.1; it is a share"),
        (make_change("distill", lambda_haar=-1.0), "lambda_haar is -1.0; a loss weight is 0 or more"),
        (make_change("distill", discriminator_lr=0.0), "discriminator_lr is 0.0; it must be positive"),
        (make_change("dcgan", discriminator_width=0), "discriminator_width is 0; at least 1"),
        (lambda: DiscriminatorOptions(norm="bacth"), "norm is 'bacth'; allowed: instance, batch"),
        (lambda: DiscriminatorOptions(layers=0), "discriminator.layers is 0; at least 1"),
        (lambda: DiscriminatorOptions(width=0), "discriminator.width is 0; at least 1"),
        (lambda: OptimOptions(lr=0.0), "optim.lr is 0.0; it must be positive"),
        (lambda: OptimOptions(beta1=1.0), "optim.beta1 is 1.0; allowed: 0 up to, not including, 1"),
        (lambda: OptimOptions(beta2=-0.1), "optim.beta2 is -0.1; allowed: 0 up to"),
    ],
)
def test_impossible_options_are_named_with_what_is_allowed(make: Any, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        make()


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("pix2pix", 18, "crop_size is 18; the resnet needs multiples of 4"),
        ("encdec", 18, "crop_size is 18; the encoder_decoder needs multiples of 4"),
        ("pix2pix", 4, "crop_size is 4; a discriminator of 1 layers needs at least 6"),
        ("distill", 18, "crop_size is 18; the compact needs multiples of 4"),
        ("distill", 20, "crop_size is 20; the losses need multiples of 16"),
        ("distill", 8, "crop_size is 8; the losses need multiples of 16"),
        ("dcgan", 64, "crop_size is 64, but pictures of network.size 32 are made"),
    ],
)
def test_crops_must_suit_the_networks(name: str, size: int, message: str) -> None:
    recipe = make_recipe(name)
    recipe.check_crop(32)
    with pytest.raises(TrainingError, match=message):
        recipe.check_crop(size)


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_the_smallest_crop_that_is_allowed_can_be_judged(layers: int) -> None:
    options = replace(TINY_D, layers=layers, width=1)
    judge = options.build(3, "normal")
    assert judge(torch.zeros(1, 3, options.min_size, options.min_size)).shape == (1, 1, 1, 1)


@pytest.mark.parametrize("name", ["cyclegan", "cut"])
def test_running_statistics_of_both_domains_are_refused(name: str) -> None:
    norm = ResnetConfig(width=4, blocks=1, norm="batch")
    with pytest.raises(TrainingError, match=r"running_stats.*also sees images of the other domain"):
        make_recipe(name, resnet=norm, norm_mode="running_stats")
    assert make_recipe(name, resnet=norm, norm_mode="batch_stats").config.norm == "batch"


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_crops_that_leave_a_norm_one_value_are_refused(norm: str) -> None:
    recipe = make_recipe("encdec", network=EncoderDecoderConfig(width=4, downs=5, norm=norm))
    with pytest.raises(TrainingError, match=r"crop_size is 32: 5 halvings leave one value.*crops of 64"):
        recipe.check_crop(32)
    recipe.check_crop(64)
    make_recipe("encdec", network=EncoderDecoderConfig(width=4, downs=5)).check_crop(32)
