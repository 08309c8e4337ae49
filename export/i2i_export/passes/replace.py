"""Putting one layer in another's place, wherever it stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import nn

LayerT = TypeVar("LayerT", bound=nn.Module)


def replace_layers(module: nn.Module, kind: type[LayerT], build: Callable[[LayerT], nn.Module | None]) -> int:
    """Replace in place every layer of `kind` by what `build` makes of it, and return how many.

    `build` returns None for one that stays. Layers that stand in two places (shared weights) stay one.
    """
    built: dict[nn.Module, nn.Module] = {}
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if not isinstance(child, kind):
                continue
            if child not in built and (new := build(child)) is not None:
                built[child] = new.train(child.training)
            if child in built:
                setattr(parent, name, built[child])
    return len(built)
