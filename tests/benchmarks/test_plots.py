"""The pictures: what they show, that nothing overlaps, that equal figures give equal files."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ElementTree
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import made_up_records as made
import numpy as np
import pytest
from matplotlib.patches import StepPatch
from matplotlib.text import Annotation, Text

from benchmarks.plots import Picture, draw_pictures, render_svg, write_picture
from benchmarks.plots.histogram import draw_histogram_picture
from benchmarks.plots.style import PRECISIONS, apply_style, get_style, make_slug
from benchmarks.reporting.choice import list_pareto_variants
from i2i_sdk.perf.record import Record, Row
from i2i_sdk.perf.timing import compute_statistics


@pytest.fixture(scope="module")
def record() -> Record:
    return made.make_engines_record()


@pytest.fixture(scope="module")
def pictures(record: Record) -> dict[str, Picture]:
    return {picture.slug: picture for picture in draw_pictures(record)}


def select_rows(record: Record, max_rows: int = 99) -> Record:
    """Less to draw: one model at one size, `most` rows."""
    rows = [r for r in record.rows if r.subject == "maps_unet256" and r.width == 256 and r.batch == 1]
    return dataclasses.replace(record, rows=tuple(rows[:max_rows]))


def test_every_kind_is_drawn_for_what_was_measured(pictures: dict[str, Picture]) -> None:
    fronts = {f"front-{model}-{side}x{side}" for model in made.MODELS for side in made.SIDES}
    rooflines = {f"roofline-{engine}" for engine in ("openvino", "onnx-runtime", "ncnn")}
    histograms = {f"histogram-{model}-256x256" for model in made.MODELS}
    growths = {f"growth-{model}-{against}" for model in made.MODELS for against in ("pixels", "batch")}
    assert set(pictures) == fronts | rooflines | histograms | growths


def test_each_is_written_as_png_and_svg(pictures: dict[str, Picture], tmp_path: Path) -> None:
    picture = pictures["roofline-openvino"]
    png, svg = write_picture(picture, tmp_path)
    image = cv2.imread(str(png))
    assert image is not None and image.shape[1] == 960
    assert image.min() < 64 and image.max() == 255
    root = ElementTree.fromstring(svg.read_text(encoding="utf-8"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"


def test_equal_figures_give_equal_files(record: Record) -> None:
    first, again, other = (
        [render_svg(picture) for picture in draw_pictures(select_rows(of, 5), ["front", "histogram"])]
        for of in (record, record, made.make_engines_record(seed=1, samples=50))
    )
    assert first == again
    assert "dc:date" not in first[0]
    assert [a == b for a, b in zip(first, other, strict=True)] == [False, False]


def test_names_of_points_overlap_nothing(pictures: dict[str, Picture]) -> None:
    for name, picture in pictures.items():
        if picture.kind not in ("front", "roofline"):
            continue
        canvas: Any = picture.figure.canvas
        (axes,) = picture.figure.axes
        texts = [(text.get_text(), _measure_text(text, canvas.get_renderer())) for text in axes.texts]
        assert len(texts) >= 4, name
        for (one, box), (other, other_box) in combinations(texts, 2):
            assert not box.overlaps(other_box), f"{name}: {one!r} lies on {other!r}"
        border = axes.get_window_extent()
        for text, box in texts:
            assert border.x0 - 3 <= box.x0 and box.x1 <= border.x1 + 3, f"{name}: {text!r} stands out"


def _measure_text(text: Text, renderer: Any) -> Any:
    """Of the words alone, without the line to the point."""
    if isinstance(text, Annotation):
        text.update_positions(renderer)
    return Text.get_window_extent(text, renderer)


def test_axes_have_units(pictures: dict[str, Picture]) -> None:
    units = {"front": ("ms", "dB"), "roofline": ("MAC per byte", "GMAC/s")}
    units |= {"growth": ("", "ms"), "histogram": ("%", "")}
    for picture in pictures.values():
        last = picture.figure.axes[-1]
        across, up = units[picture.kind]
        assert last.get_xlabel() and across in last.get_xlabel()
        assert up in last.get_ylabel()


def test_the_front_leaves_out_what_has_no_quality(pictures: dict[str, Picture]) -> None:
    words = {text.get_text() for text in pictures["front-maps_resnet9-256x256"].figure.axes[0].texts}
    variants = {name for name, (_, psnr) in made.MODELS["maps_resnet9"].items() if psnr is not None}
    assert words == {*variants, made.BASELINE}  # the baseline is a line


def test_roofs_are_the_measured_peaks(pictures: dict[str, Picture]) -> None:
    words = [text.get_text() for text in pictures["roofline-openvino"].figure.axes[0].texts]
    assert {"● FP32 236", "■ BF16 458", "▲ INT8 876", "slope: memory, 31.0 GB/s"} <= set(words)
    heights = [set(line.get_ydata()) for line in pictures["roofline-openvino"].figure.axes[0].lines]
    assert {max(line) for line in heights if len(line) == 1} == {236.0, 458.0, 876.0}


def test_points_of_a_roofline_are_work_per_byte_and_speed(record: Record) -> None:
    (picture,) = [p for p in draw_pictures(select_rows(record), ["roofline"]) if p.slug == "roofline-ncnn"]
    row = next(r for r in select_rows(record).rows if r.name == "ncnn-fp16")
    macs = row.values["macs"]
    wanted = macs / row.values["traffic"], macs / row.times["frame"].median_ms / 1e6
    lines = [line for line in picture.figure.axes[0].lines if line.get_marker() == PRECISIONS["fp16"].marker]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in lines] == [pytest.approx(wanted)]


def test_a_histogram_counts_every_sample() -> None:
    samples = (*np.linspace(10.0, 11.0, 99).tolist(), 500.0)
    times = {"frame": compute_statistics(samples)}
    row = Row("m", "ort-fp32", 64, 64, times=times, samples={"frame": samples})
    with apply_style():
        picture = draw_histogram_picture([row])
    assert picture is not None
    (strip,) = picture.figure.axes
    (bars,) = [patch for patch in strip.patches if isinstance(patch, StepPatch)]
    assert bars.get_data().values.sum() == 99
    assert strip.get_title(loc="right") == "10.5 ms, 1 of 100 beyond"


def test_probes_of_the_device_have_no_histogram() -> None:
    samples = (1.0, 1.1, 1.2)
    row = Row("this device", "peak", times={"frame": compute_statistics(samples)}, samples={"frame": samples})
    assert draw_histogram_picture([row]) is None


def test_beyond_the_ceiling_the_faster_one_is_worth_choosing() -> None:
    rows = [
        Row("m", name, 8, 8, times={"frame": compute_statistics([ms])}, values={"psnr": psnr})
        for name, ms, psnr in (("int8", 1.0, 40.0), ("fp32", 2.0, 90.0), ("exact", 3.0, 120.0))
    ]
    assert list_pareto_variants([*rows, Row("m", "not run", 8, 8)]) == ["int8", "fp32"]


def test_growth_says_the_exponent(pictures: dict[str, Picture]) -> None:
    (legend,) = pictures["growth-maps_resnet9-pixels"].figure.legends
    words = {text.get_text() for text in legend.get_texts()}
    assert "linear growth" in words
    assert "ncnn-fp32: exponent 1.15" in words  # pixels to the power 2.3 / 2
    assert "openvino-bf16: exponent 1.02" in words


def test_precisions_differ_in_color_and_in_marker() -> None:
    looks = [*PRECISIONS.values(), get_style("no precision in it")]
    assert len({look.color for look in looks}) == len({look.marker for look in looks}) == len(looks)


def test_strange_names_are_drawn_as_they_are(record: Record) -> None:
    name = "$x_1$ <b> --> & 100 % bf16"
    row = next(row for row in select_rows(record).rows if row.name == "openvino-bf16")
    strange = draw_pictures(dataclasses.replace(record, rows=(dataclasses.replace(row, name=name),)))
    assert {picture.kind for picture in strange} == {"front", "roofline", "histogram"}
    for picture in strange:
        ElementTree.fromstring(render_svg(picture))
    assert name in [text.get_text() for text in strange[0].figure.axes[0].texts]


def test_long_names_do_not_crowd_out_the_picture(record: Record) -> None:
    long = "word " * 40
    rows = [dataclasses.replace(row, subject=long, name=long + row.name) for row in select_rows(record).rows]
    for picture in draw_pictures(dataclasses.replace(record, rows=tuple(rows))):
        render_svg(picture)
        for axes in picture.figure.axes:
            assert axes.get_window_extent().width > 0.6 * picture.figure.bbox.width


def test_without_figures_there_is_no_picture(record: Record) -> None:
    rows = (Row("m", "trt-fp16", 64, 64, notes=("not run",)), Row("m", "live"))
    assert draw_pictures(dataclasses.replace(record, rows=rows)) == []


def test_names_of_files_are_harmless() -> None:
    sized = "8 \N{MULTIPLICATION SIGN} 8"
    assert make_slug("front", "/a b/\N{LATIN SMALL LETTER E WITH ACUTE}?c", sized) == "front-a-b-c-8x8"
