"""Distillation: a small generator learns to make the pictures that a teacher has made (pairs x, y).

    L_G = sum over the losses below of lambda_k * L_k(G(x), y)

Hinton et al. 2015 (https://arxiv.org/abs/1503.02531) had the idea; how it goes for generators: Li et al. 2020
(https://arxiv.org/abs/2003.08936), Ren et al. 2021, "Online Multi-Granularity Distillation"
(https://arxiv.org/abs/2108.06908). A regression alone blurs what it cannot foresee, so details have losses
of their own, and a discriminator, which tells the teacher's pictures of x from the student's, comes in late:
once there is a picture to judge.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i_sdk.errors import TrainingError
from i2i_training.checkpoint import load_generator
from i2i_training.data import Batch
from i2i_training.losses.adapters import FeatureAdapters, count_channels
from i2i_training.losses.energy import LEVELS as ENERGY_LEVELS
from i2i_training.losses.energy import compute_energy_loss
from i2i_training.losses.gan import GanMode
from i2i_training.losses.haar import compute_haar_loss
from i2i_training.losses.perceptual import compute_feature_loss, compute_gram_loss
from i2i_training.losses.ssim import compute_ssim_loss
from i2i_training.networks import CompactConfig, Init, build_generator, initialize_weights
from i2i_training.networks.compact import OVERVIEW_STRIDE
from i2i_training.networks.encoder import FrozenEncoder, find_residual_blocks
from i2i_training.options import check_value
from i2i_training.recipes.base import Recipe
from i2i_training.recipes.parts import DiscriminatorOptions, GanOptions, OptimOptions, TestNormMode

log = logging.getLogger(__name__)

HAAR_LEVELS = 3
ADAPTED_BLOCKS = 3  # of the teacher, evenly spaced, the last one included


@dataclass(frozen=True)
class DistillOptions(GanOptions):
    student: CompactConfig = field(default_factory=CompactConfig)  # the network that learns
    size: int = 512  # side of the frames that it will see, which export takes
    start: str = ""  # checkpoint of a student of the same sizes, whose weights this one begins with
    teacher: str = ""  # the teacher's checkpoint, whose feature maps lambda_adapter is for
    encoder: str = ""  # checkpoint of a ResNet, whose first layers see for lambda_feature and lambda_gram
    lambda_l1: float = 1.0  # weight of the L1 distance
    lambda_ssim: float = 1.0  # weight of 1 - SSIM
    lambda_haar: float = 1.0  # weight of the L1 distance of wavelet bands: detail
    lambda_energy: float = 10.0  # weight of how strong the edit is at each size; none where channels differ
    lambda_feature: float = 0.5  # weight of the encoder's features
    lambda_gram: float = 10.0  # weight of how often its features go together: texture
    lambda_adapter: float = 1.0  # weight of the teacher's feature maps
    lambda_gan: float = 2.0  # weight of the GAN loss
    gan_from: float = 0.05  # share of the run after which the discriminator comes in
    gan_mode: GanMode = "lsgan"  # the GAN's objective
    discriminator: DiscriminatorOptions = field(
        default_factory=lambda: DiscriminatorOptions(width=32, norm="none")
    )
    optim: OptimOptions = field(default_factory=lambda: OptimOptions(lr=1e-3))
    discriminator_lr: float = 4e-4  # learning rate of the discriminator
    norm_mode: TestNormMode = "running_stats"  # how BatchNorm runs at test time; running_stats folds away
    # Share of the run after which BatchNorm stops looking at the batch: the student learns with the
    # statistics that it will have on the device.
    freeze_norm_from: float = 0.5
    init: Init = "kaiming"  # how weights start

    def __post_init__(self) -> None:
        super().__post_init__()
        lr = self.discriminator_lr
        check_value("discriminator_lr", lr, lr > 0, "it must be positive")
        for name in ("gan_from", "freeze_norm_from"):
            value = getattr(self, name)
            check_value(name, value, 0 <= value <= 1, "it is a share of the run, 0 to 1")


PRESETS = {
    "nano": {"student.width": 32, "student.blocks": 4},
    "small": {"student.width": 48, "student.blocks": 6},
    "medium": {"student.width": 64, "student.blocks": 6},
}
DEFAULTS = {
    "load_size": "none",
    "crop_size": 160,
    "batch": 4,
    "steps": 4000,
    "decay_from": 0.4,
    "noise": 0.0,
}


class Distill(Recipe):
    """G: the student, x -> the teacher's y; D judges pairs (x, y); A adapts G's feature maps."""

    name = "distill"
    data = "paired"
    has_teacher = True
    overview_stride = OVERVIEW_STRIDE

    def __init__(self, options: DistillOptions, seed: int = 0) -> None:
        self.config, self.size = options.student, options.size
        networks = {"G": build_student(self.config, options.init)}
        if options.start:
            networks["G"].load_state_dict(load_start(options.start, self.config))
        if options.lambda_gan:
            channels = self.config.in_channels + self.config.out_channels
            networks["D"] = options.discriminator.build(channels, options.init)
        self.encoder = self.teacher = None
        if options.lambda_feature or options.lambda_gram:
            self.encoder = load_encoder(options.encoder, options.teacher, self.config.out_channels)
            if self.encoder is None:
                log.warning(
                    "no encoder: lambda_feature and lambda_gram are left out; --encoder names a ResNet"
                )
        if options.lambda_adapter and options.teacher:
            self.teacher = load_teacher_blocks(options.teacher, self.config.in_channels)
        if self.teacher is not None:
            with torch.no_grad():
                maps = self.teacher(torch.zeros(1, self.config.in_channels, 64, 64))
            networks["A"] = FeatureAdapters(self.config.width, count_channels(maps))
        super().__init__(options, networks, seed)
        self.frozen = [each for each in (self.encoder, self.teacher) if each is not None]

    def choose_optim(self, network: str) -> OptimOptions:
        optim: OptimOptions = self.options.optim
        return replace(optim, lr=self.options.discriminator_lr) if network == "D" else optim

    def check_crop(self, size: int) -> None:
        super().check_crop(size)
        multiple = 2 ** max(HAAR_LEVELS, ENERGY_LEVELS)
        if size % multiple:
            raise TrainingError(f"crop_size is {size}; the losses need multiples of {multiple}")

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Update D once it is its time, then G, on x = batch.a and y = batch.b."""
        assert batch.a is not None
        x, y, o = batch.a, batch.b, self.options
        for network in self.frozen:
            network.to(x.device)
        if self.progress >= o.freeze_norm_from:
            freeze_batch_norm(self.networks["G"])
        fake, features = self.run["G"](x, batch.overviews, with_features=True)
        losses = self._compute_losses(x, y, fake, features)
        if o.lambda_gan and self.progress >= o.gan_from:
            losses["D"] = self.update_discriminator("D", (x, y), (x, fake))
            with self.freeze("D"):
                losses["gan"] = self.objective.generator(self.run["D"](x, fake))
        weights = {name: getattr(o, f"lambda_{name}") for name in losses if name != "D"}
        total = fake.new_zeros(()) * fake.mean()  # where the GAN's loss is alone, and not in yet
        total = total + sum(weight * losses[name] for name, weight in weights.items())
        self.update(total, *(name for name in self.networks if name != "D"))
        known = ["D", *["gan"]] if o.lambda_gan else []
        losses = {name: total.new_zeros(()) for name in known} | losses
        return {name: loss.detach() for name, loss in losses.items()}

    def _compute_losses(
        self, x: Tensor, y: Tensor, fake: Tensor, features: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """All but the GAN's whose weight is not 0, by name."""
        o, losses = self.options, dict[str, Tensor]()
        if o.lambda_l1:
            losses["l1"] = F.l1_loss(fake, y)
        if o.lambda_ssim:
            losses["ssim"] = compute_ssim_loss(fake, y)
        if o.lambda_energy and x.shape == y.shape:
            losses["energy"] = compute_energy_loss(fake - x, y - x)
        if o.lambda_haar:
            losses["haar"] = compute_haar_loss(fake, y, HAAR_LEVELS)
        if self.encoder is not None:
            seen = self.encoder(fake)
            with torch.no_grad():
                wanted = self.encoder(y)
            if o.lambda_feature:
                losses["feature"] = compute_feature_loss(seen, wanted)
            if o.lambda_gram:
                losses["gram"] = compute_gram_loss(seen, wanted)
        if self.teacher is not None:
            with torch.no_grad():
                thought = self.teacher(x)
            losses["adapter"] = self.run["A"](features, thought)
        return losses


def build_student(config: CompactConfig, init: Init) -> nn.Module:
    """With fresh weights, and the identity's share of the picture as it begins."""
    student = build_generator(config)
    style = {
        k: v.clone()
        for k, v in student.state_dict().items()
        if k.startswith(("branch.gains", "branch.biases"))
    }
    initialize_weights(student, init)
    student.load_state_dict(style, strict=False)
    return student


def freeze_batch_norm(network: nn.Module) -> None:
    """From now on its statistics are fixed; gains and biases still learn."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()


def load_start(checkpoint: str, config: CompactConfig) -> dict[str, Tensor]:
    """The weights to begin with. Raises TrainingError for a network of another kind or size."""
    module, spec = load_generator(Path(checkpoint))
    if spec.config != config:
        raise TrainingError(f"start {checkpoint}: is {spec.config}, and the student is {config}")
    return module.state_dict()


def load_encoder(checkpoint: str, teacher: str, channels: int) -> FrozenEncoder | None:
    """The first layers of a ResNet, to see with.

    Args:
        checkpoint: the ResNet; empty takes the teacher.
        teacher: the teacher's checkpoint; empty where it has none.
        channels: of the pictures that it looks at.

    Returns:
        The layers; None without a checkpoint, and where the teacher is no ResNet.

    Raises:
        TrainingError: where `checkpoint` is no ResNet of such pictures.
    """
    file = checkpoint or teacher
    if not file:
        return None
    module, spec = load_generator(Path(file))
    blocks = find_residual_blocks(module)
    if not blocks or spec.config.in_channels != channels:
        if not checkpoint:
            return None
        raise TrainingError(
            f"encoder {checkpoint}: is no ResNet of pictures with {channels} channels; give one, or "
            f"--lambda-feature 0 --lambda-gram 0"
        )
    first = blocks[0]
    # After the 7x7 convolution, each of the two strided ones, and the second block.
    return FrozenEncoder(module, [first - 7, first - 4, first - 1, blocks[min(1, len(blocks) - 1)]])


def load_teacher_blocks(checkpoint: str, channels: int) -> FrozenEncoder | None:
    """The teacher's residual blocks whose maps the student says again.

    None where it has none, or takes pictures of other than so many channels.
    """
    module, spec = load_generator(Path(checkpoint))
    blocks = find_residual_blocks(module)
    if not blocks or spec.config.in_channels != channels:
        return None
    count = min(ADAPTED_BLOCKS, len(blocks))
    return FrozenEncoder(module, [blocks[(n + 1) * len(blocks) // count - 1] for n in range(count)])
