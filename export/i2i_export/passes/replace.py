"""Putting one layer in another's place, wherever it stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import nn

LayerT = TypeVar("LayerT", bound=nn.Module)


def replace_layers(module: nn.Module, kind: type[LayerT], build: Callable[[LayerT], nn.Module | None]) -> int:
    """Replace in place every layer of a kind. Layers that stand in two places (shared weights) stay one.

    Args:
        module: what is changed, wherever inside it the layers stand.
        kind: the class of layers.
        build: makes the new layer of the old one, or None where the old one stays.

    Returns:
        How many were replaced.
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
