"""The front of latency against quality, and its plot."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from i2i_sdk.perf.pareto import Point, dominates, find_dominator, find_pareto
from i2i_sdk.perf.plots import draw_pareto, save_figure

# Few distinct values, so that ties are common.
POINTS = st.lists(
    st.tuples(st.integers(1, 6), st.integers(30, 36)).map(lambda p: (float(p[0]), float(p[1]))), max_size=12
).map(lambda pairs: [Point(str(index), *pair) for index, pair in enumerate(pairs)])


def test_a_known_front() -> None:
    int8, bf16, fp32 = Point("int8", 8, 33), Point("bf16", 9, 53), Point("fp32", 16, 112)
    slow = Point("s", 9, 40)
    assert find_pareto([fp32, slow, bf16, int8]) == [int8, bf16, fp32]
    assert find_dominator(slow, [fp32, slow, bf16, int8]) is bf16
    assert find_dominator(bf16, [fp32, slow, bf16, int8]) is None
    assert find_pareto([]) == []


@given(POINTS)
def test_the_front_is_what_none_dominates_and_along_it_slower_is_better(points: list[Point]) -> None:
    best = find_pareto(points)
    for point in points:
        by = [other for other in points if dominates(other, point)]
        found = find_dominator(point, points)
        assert (point in best) is (by == []) is (found is None)
        assert found is None or (found in best and found in by)
        assert not any(dominates(point, other) for other in by)
    for a, b in pairwise(best):
        assert (a.ms < b.ms and a.psnr < b.psnr) or (a.ms, a.psnr) == (b.ms, b.psnr)
    assert set(find_pareto(points[::-1])) == set(best)


@pytest.mark.parametrize("count", [1, 9, 20])
def test_a_plot_names_every_point_once_and_none_looks_like_another(tmp_path: Path, count: int) -> None:
    points = [Point(f"openvino-{index}", 1.5**index, 120 - (index * 37) % 80) for index in range(count)]
    groups = [points[: count // 2], points[count // 2 :]]
    p95 = {point.name: 1.3 * point.ms for point in points}
    baseline = Point("eager", 5.0, 0.0)
    figure = draw_pareto([g for g in groups if g], p95, "a title", note="note " * 40, baseline=baseline)
    (legend,) = figure.legends
    names = [text.get_text().split(":")[0] for text in legend.get_texts()]
    assert sorted(names) == sorted([*p95, "eager"])
    (axes,) = figure.axes
    markers = [line for line in axes.lines if line.get_marker() in ("o", "s", "^", "D", "v", "P", "X")]
    assert len(markers) == count
    filled = {line.get_xdata()[0] for line in markers if line.get_markerfacecolor() != "white"}
    assert filled == {point.ms for group in groups for point in find_pareto(group)}
    looks = {(line.get_color(), line.get_marker()) for line in markers}
    assert len(looks) == min(count, 14)
    save_figure(figure, tmp_path / "x.png")
    picture = cv2.imread(str(tmp_path / "x.png"))
    assert picture is not None and picture.shape[1] == 960
    assert (picture < 128).any() and picture[:2].min() == picture[:, -1].min() == 255  # nothing is cut off
