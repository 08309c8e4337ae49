"""Weight initialization, as the papers do it: N(0, 0.02) for convolutions, N(1, 0.02) for norm gains."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

Init = Literal["normal", "xavier", "kaiming", "orthogonal"]
INITS: dict[str, Callable[[Tensor, float], object]] = {
    "normal": lambda w, gain: nn.init.normal_(w, 0.0, gain),
    "xavier": lambda w, gain: nn.init.xavier_normal_(w, gain=gain),
    "kaiming": lambda w, _gain: nn.init.kaiming_normal_(w, a=0, mode="fan_in"),
    "orthogonal": lambda w, gain: nn.init.orthogonal_(w, gain=gain),
}


def initialize_weights(module: nn.Module, kind: str = "normal", gain: float = 0.02) -> nn.Module:
    """Set all weights of a network in place.

    Args:
        module: the network; its convolutions, linear layers and BatchNorms are set.
        kind: one of INITS.
        gain: deviation of "normal" weights and BatchNorm's gains, factor of the others; "kaiming" has none.

    Returns:
        The network.
    """
    return module.apply(partial(_initialize_layer, kind=kind, gain=gain))


def _initialize_layer(layer: nn.Module, kind: str, gain: float) -> None:
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        spectral = parametrize.is_parametrized(layer, "weight")
        if spectral:
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
        INITS[kind](layer.weight, gain)
        if spectral:  # anew, because its power iteration begins with the weights that it finds
            parametrizations.spectral_norm(layer)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, gain)
        nn.init.zeros_(layer.bias)
