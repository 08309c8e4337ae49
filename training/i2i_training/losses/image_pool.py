"""A history of generated images for the discriminator."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class ImagePool:
    """Half of the time D sees an older fake (Shrivastava et al. 2017, section 2.3; CycleGAN, section 4).

    Args:
        size: images kept; 0 hands every image through.
        seed: of its own random generator, so that its choices are part of a resumable state.
    """

    def __init__(self, size: int, seed: int = 0) -> None:
        self.size = size
        self.images: list[Tensor] = []
        self.random = torch.Generator().manual_seed(seed)

    def swap(self, fakes: Tensor) -> Tensor:
        """[N, C, H, W] detached fakes in, as many out; while it fills, the same."""
        if self.size == 0:
            return fakes
        return torch.stack([self._swap_one(fake) for fake in fakes])

    def _swap_one(self, fake: Tensor) -> Tensor:
        if len(self.images) < self.size:
            self.images.append(fake.clone())
            return fake
        if torch.rand((), generator=self.random) < 0.5:
            return fake
        place = int(torch.randint(self.size, (), generator=self.random))
        older, self.images[place] = self.images[place], fake.clone()
        return older

    def state_dict(self) -> dict[str, Any]:
        return {"images": [image.cpu() for image in self.images], "random": self.random.get_state()}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        self.images = [image.to(device) for image in state["images"]]
        self.random.set_state(state["random"])
