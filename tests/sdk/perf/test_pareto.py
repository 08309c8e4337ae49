"""The front of latency against quality, and a picture of it in which every name can be read."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from i2i_sdk.perf.pareto import Point, dominates, find_dominator, find_pareto
from i2i_sdk.perf.pareto_plot import MARKER_RADIUS, TextBox, draw_pareto, place_labels

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
def test_nothing_on_the_front_is_dominated_and_everything_else_is(points: list[Point]) -> None:
    best = find_pareto(points)
    for point in points:
        by = [other for other in points if dominates(other, point)]
        assert (point in best) is (by == [])
        found = find_dominator(point, points)
        assert (found is None) is (by == [])
        assert found is None or (found in best and found in by)


@given(POINTS)
def test_along_the_front_slower_is_better(points: list[Point]) -> None:
    best = find_pareto(points)
    for a, b in pairwise(best):
        assert (a.ms < b.ms and a.psnr < b.psnr) or (a.ms, a.psnr) == (b.ms, b.psnr)
    if points:
        assert best[0].ms == min(p.ms for p in points) and best[-1].psnr == max(p.psnr for p in points)


@given(POINTS, st.permutations(range(12)))
def test_order_does_not_matter_and_a_front_is_its_own_front(points: list[Point], order: list[int]) -> None:
    mixed = [points[i] for i in order if i < len(points)]
    assert set(find_pareto(mixed)) == set(find_pareto(points))
    assert find_pareto(find_pareto(points)) == find_pareto(points)


@given(POINTS)
def test_no_point_dominates_itself_and_none_two_ways(points: list[Point]) -> None:
    for a in points:
        assert not dominates(a, a)
        for b in points:
            assert not (dominates(a, b) and dominates(b, a))


# the picture


@given(st.lists(st.tuples(st.floats(60, 340), st.floats(40, 260)), max_size=8))
def test_labels_stand_inside_and_do_not_overlap(centers: list[tuple[float, float]]) -> None:
    inside = TextBox(0, 0, 400, 300)
    stroke = TextBox(0, 149, 400, 151)
    labels = place_labels(centers, [(60.0, 10.0)] * len(centers), inside, [stroke])
    for index, label in enumerate(labels):
        assert inside.contains(label) and not label.overlaps(stroke)
        assert not any(label.overlaps(other) for other in labels[:index])
        for x, y in centers:
            reach = MARKER_RADIUS
            assert not label.overlaps(TextBox(x - reach, y - reach, x + reach, y + reach))


def test_a_lone_label_is_beside_its_point() -> None:
    (label,) = place_labels([(100.0, 100.0)], [(60.0, 10.0)], TextBox(0, 0, 400, 300))
    assert label == TextBox(109, 95, 169, 105)


@pytest.mark.parametrize("count", [1, 9])
def test_a_picture_of_one_size_whatever_is_in_it(tmp_path: Path, count: int) -> None:
    points = [Point(f"openvino-{index}", 1.5**index, 120 - (index * 37) % 80) for index in range(count)]
    p95 = {point.name: 1.3 * point.ms for point in points}
    series = [points[: count // 2], points[count // 2 :]] if count > 1 else [points]
    draw_pareto(tmp_path / "x.png", series, p95, "title", "note " * 40)
    picture = cv2.imread(str(tmp_path / "x.png"))
    assert picture is not None and picture.shape == (928, 960, 3)
    assert (picture < 128).any() and picture[:3].min() == picture[:, :2].min() == 255  # nothing is cut off
