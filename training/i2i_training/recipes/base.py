"""What every method is made of: networks with optimizers, one training step, and generators to keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from i2i_sdk.errors import TrainingError
from i2i_training.data import Batch
from i2i_training.losses.gan import GAN_OBJECTIVES, compute_discriminator_loss
from i2i_training.losses.image_pool import ImagePool
from i2i_training.networks import GeneratorConfig
from i2i_training.networks.spec import Direction, NormMode
from i2i_training.recipes.parts import DiscriminatorOptions, OptimOptions, TestNormMode, resolve_norm_mode

Networks = Mapping[str, nn.Module]


@dataclass(frozen=True)
class TrainedGenerator:
    """One network that a run leaves behind."""

    suffix: str  # of its file: latest_net_G{suffix}.safetensors
    direction: Direction  # BtoA is the way back
    config: GeneratorConfig
    norm_mode: NormMode  # how BatchNorm runs at test time
    module: nn.Module  # its state dict is that of build_generator(config)


class Recipe:
    """A method. Subclasses build the networks, define `step`, and name the generators to keep.

    `networks` are plain modules: what is saved, averaged (those whose names begin with G) and exported.
    Training calls `self.run[name]`, which after `setup` are the same weights behind Fabric's devices,
    precision and processes; without it a recipe steps all the same, in float32 in one process. The optimizer
    of a network has its name.
    """

    name: ClassVar[str]
    data: ClassVar[str]  # "paired", "unpaired" or "single": what a batch holds
    trains_both_directions: ClassVar[bool] = False
    norm_mode: ClassVar[TestNormMode] = "batch_stats"  # of BatchNorm at test time, where no option says it
    has_teacher: ClassVar[bool] = False  # whether targets are a teacher's pictures of the inputs
    overview_stride: ClassVar[int] = (
        0  # pixels of the whole input that one of its overview stands for; 0: none
    )
    config: Any  # the generator's, of the way from A to B
    size: int | None = None  # side of the pictures that the generators are for; None is that of the crops
    progress: float = 0.0  # share of the run that is done, 0 to 1; the loop says it before each step

    def __init__(self, options: Any, networks: dict[str, nn.Module], seed: int, pool_size: int = 0):
        """Give each network its optimizer.

        Args:
            options: the recipe's own `GanOptions`.
            networks: by name, those of discriminators beginning with D.
            seed: of the image pools' choices.
            pool_size: older fakes kept for each discriminator.
        """
        self.options, self.seed = options, seed
        self.objective = GAN_OBJECTIVES[options.gan_mode]
        self.networks = networks
        self.optimizers: dict[str, Any] = {
            name: self.choose_optim(name).build_optimizer(network) for name, network in networks.items()
        }
        self.pool_size = pool_size
        self.pools: dict[str, ImagePool] = {}
        self.restart_pools(rank=0)
        self.run: dict[str, Any] = dict(networks)
        self.backward: Callable[[Tensor], object] = Tensor.backward
        self.scaler: Any = None  # torch.amp.GradScaler with 16-mixed

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Update all networks once; returns the losses, detached scalars."""
        raise NotImplementedError

    def choose_optim(self, network: str) -> OptimOptions:
        """How the network of that name learns; here all do so alike."""
        return self.options.optim

    def list_generators(self, networks: Networks) -> list[TrainedGenerator]:
        """What to save and show, made of `networks`: the live ones, or their moving averages.

        Here that is G, from A to B.
        """
        return [TrainedGenerator("", "AtoB", self.config, self.resolve_norm_mode(), networks["G"])]

    def resolve_norm_mode(self) -> NormMode:
        """How BatchNorm, where there is one, runs at test time."""
        return resolve_norm_mode(self.config, getattr(self.options, "norm_mode", self.norm_mode))

    def check_crop(self, size: int) -> None:
        """Raise TrainingError unless crops of `size` pixels a side suit the translators and their D."""
        for generator in self.list_generators(self.networks):
            config, multiple = generator.config, generator.config.multiple_of
            if size % multiple:
                raise TrainingError(
                    f"crop_size is {size}; the {config.architecture} needs multiples of {multiple}: "
                    f"--crop-size {max(1, round(size / multiple)) * multiple}"
                    f"{', or fewer downs' if hasattr(config, 'downs') else ''}"
                )
        judge: DiscriminatorOptions = self.options.discriminator
        if size < judge.min_size:
            raise TrainingError(
                f"crop_size is {size}; a discriminator of {judge.layers} layers needs at least "
                f"{judge.min_size}"
            )

    def setup(self, fabric: Fabric, use_compile: bool = False) -> None:
        """Hand networks and optimizers to Fabric, which moves them and sets precision and processes."""
        self.backward = fabric.backward
        self.scaler = getattr(fabric.strategy.precision, "scaler", None)
        self.restart_pools(fabric.global_rank)
        for name, network in self.networks.items():
            module: Any = torch.compile(network) if use_compile else network
            self.run[name], self.optimizers[name] = fabric.setup(module, self.optimizers[name])

    def restart_pools(self, rank: int) -> None:
        """An empty image pool for each discriminator; each one of each process decides for itself."""
        names = [name for name in self.networks if name.startswith("D")]
        first = self.seed + rank * len(names)
        self.pools = {n: ImagePool(self.pool_size, first + number) for number, n in enumerate(names)}

    def update(self, loss: Tensor, *names: str) -> None:
        """One optimizer step of the named networks against `loss`."""
        for name in names:
            self.optimizers[name].zero_grad(set_to_none=True)
        self.backward(loss)
        if self.scaler is None:
            for name in names:
                self.optimizers[name].step()
            return
        for name in names:  # Fabric would change the scale between two optimizers of one loss
            self.scaler.step(self.optimizers[name].optimizer)
        self.scaler.update()

    def update_discriminator(
        self, name: str, real: Sequence[Tensor], fake: Sequence[Tensor], weight: float = 1.0
    ) -> Tensor:
        """One optimizer step of a discriminator.

        Args:
            name: of its network.
            real: what it takes, each [N, C, H, W].
            fake: the same with generated images; nothing of the step goes back to their generator.
            weight: of its loss.

        Returns:
            The loss, a detached scalar; see `losses.gan.compute_discriminator_loss`.
        """
        kept = [images.detach() for images in fake]
        loss = compute_discriminator_loss(self.objective, self.run[name], real, kept, self.networks[name])
        loss = weight * loss
        self.update(loss, name)
        return loss.detach()

    @contextmanager
    def freeze(self, *names: str) -> Iterator[None]:
        """While G's loss flows through these discriminators, it computes no gradients of theirs."""
        for name in names:
            self.networks[name].requires_grad_(False)
        yield
        for name in names:
            self.networks[name].requires_grad_(True)

    def set_learning_rate(self, factor: float) -> None:
        """Set all learning rates to `factor` times the options'."""
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = self.choose_optim(name).lr * factor

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes while training: weights, optimizers, image pools, the scale of losses."""
        kinds = {"networks": self.networks, "optimizers": self.optimizers, "pools": self.pools}
        state: dict[str, Any] = {
            kind: {name: part.state_dict() for name, part in parts.items()} for kind, parts in kinds.items()
        }
        return {**state, "scaler": {} if self.scaler is None else self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Inverse of `state_dict`, after `setup`. Raises KeyError or RuntimeError for another's state.

        Learning rate and decays stay those of this recipe's options.
        """
        for name, network in self.networks.items():
            network.load_state_dict(state["networks"][name])
            optimizer = self.optimizers[name]
            own = {"param_groups": optimizer.state_dict()["param_groups"]}
            optimizer.load_state_dict({**state["optimizers"][name], **own})
        for name, pool in self.pools.items():
            pool.load_state_dict(state["pools"][name], device)
        if self.scaler is not None and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
