"""Which layers go back to floats: judged by scores that are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from i2i_export.int8.builder import find_fallback, rank_layers, sweep_layers

decibels = st.floats(5, 90)
scores = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=3), decibels, min_size=1, max_size=12)


class NoisePower:
    """A score of layers whose noise adds up, and what it was asked."""

    def __init__(self, alone: dict[str, float]) -> None:
        self.noise = {layer: 10 ** (-db / 10) for layer, db in alone.items()}
        self.requests: list[list[str]] = []

    def __call__(self, layers: Sequence[str]) -> float:
        self.requests.append(list(layers))
        return float(-10 * np.log10(sum(self.noise[layer] for layer in layers)))


@given(scores)
def test_a_sweep_asks_for_each_layer_alone_and_lists_the_worst_first(alone: dict[str, float]) -> None:
    score, messages = NoisePower(alone), list[str]()
    found = sweep_layers(list(alone), score, messages.append)
    assert score.requests == [[layer] for layer in alone]
    assert messages == [
        f"int8: sensitivity of {len(alone)} layers, {n} of {len(alone)}" for n in range(1, len(alone) + 1)
    ]
    assert found == {layer: pytest.approx(db, abs=0.006) for layer, db in alone.items()}
    assert list(found.values()) == sorted(found.values())


def test_noise_counts_for_each_multiplication() -> None:
    """3 dB less is twice the noise, which a layer with three times the multiplications may make."""
    for macs, order in ((100, "ba"), (300, "ab"), (150, "ba")):
        assert rank_layers({"a": 40.0, "b": 37.0}, {"a": 100, "b": macs}) == list(order)


@given(scores, st.data())
def test_the_worst_gain_most_for_what_they_cost(alone: dict[str, float], data: st.DataObject) -> None:
    macs = {layer: data.draw(st.integers(1, 10**9), layer) for layer in alone}
    order = rank_layers(alone, macs)
    assert sorted(order) == sorted(alone)
    gains = [10 ** (-alone[layer] / 10) / macs[layer] for layer in order]
    assert gains == sorted(gains, reverse=True)


@given(scores, st.floats(0, 100))
def test_a_fallback_holds_the_floor_with_as_many_layers_as_can(alone: dict[str, float], floor: float) -> None:
    score = NoisePower(alone)
    order = list(alone)
    left = find_fallback(order, score, floor)
    assert left == order[len(order) - len(left) :]
    assert not left or score(left) >= floor
    if len(left) < len(order) - 1:  # the caller has tried all of them
        assert score(order[-len(left) - 1 :]) < floor
    assert all(order[len(order) - len(asked) :] == asked for asked in score.requests)


@pytest.mark.parametrize(("count", "most"), [(1, 1), (2, 2), (24, 5), (200, 8)])
def test_a_fallback_measures_few_graphs(count: int, most: int) -> None:
    for floor in (0.0, 20.0, 1000.0):
        score = NoisePower({str(layer): 40.0 for layer in range(count)})
        find_fallback([str(layer) for layer in range(count)], score, floor)
        assert len(score.requests) <= most
