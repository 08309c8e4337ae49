"""Which layers bear 8 bits: each alone, measured, and how many have to go back so that a floor holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

ScoreFunction = Callable[
    [Sequence[str]], float
]  # names of layers in 8 bits -> mean PSNR in dB over held-out frames


def sweep_layers(
    layers: Sequence[str], score: ScoreFunction, progress: Callable[[str], None] = lambda text: None
) -> dict[str, float]:
    """The dB with each layer alone in 8 bits, the worst first."""
    found: dict[str, float] = {}
    for number, layer in enumerate(layers, 1):
        progress(f"sensitivity: layer {number} of {len(layers)}")
        found[layer] = round(score([layer]), 2)
    return dict(sorted(found.items(), key=lambda item: item[1]))


def rank_layers(alone: Mapping[str, float], macs: Mapping[str, int]) -> list[str]:
    """Layers by the noise that each of their multiplications costs, most first.

    Noise power is 10 ** (-dB / 10). A large layer is kept in 8 bits before a small one with the same noise:
    it is what makes the engine fast.
    """
    return sorted(alone, key=lambda layer: 10 ** (-alone[layer] / 10) / macs[layer], reverse=True)


def find_fallback(order: Sequence[str], score: ScoreFunction, floor: float) -> tuple[list[str], float]:
    """As many of the last of `order` in 8 bits as keep `floor`, and the dB they have.

    Fewer layers in 8 bits are taken to be better, so that the number is found by halving; the result itself
    was measured. With none left the picture is exact: ([], inf).
    """
    held: tuple[list[str], float] = ([], float("inf"))
    fewest, most = 1, len(order)  # layers that go back; 0 was tried by the caller
    while fewest <= most:
        back = (fewest + most) // 2
        left = list(order[back:])
        db = score(left) if left else float("inf")
        if db >= floor:
            held, most = (left, db), back - 1
        else:
            fewest = back + 1
    return held
