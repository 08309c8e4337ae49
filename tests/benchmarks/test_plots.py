"""The pictures: what they show, and that equal figures give equal files."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ElementTree

import pytest
from known_records import read_engines_record, select_rows

from benchmarks.plots import Picture, draw_pictures, make_slug
from i2i_sdk.perf.record import Record, Row


@pytest.fixture(scope="module")
def record() -> Record:
    return read_engines_record()


@pytest.fixture(scope="module")
def pictures(record: Record) -> dict[str, Picture]:
    return {picture.slug: picture for picture in draw_pictures(record)}


def read_legend(picture: Picture) -> list[str]:
    (legend,) = picture.figure.legends
    return [text.get_text() for text in legend.get_texts()]


def test_every_kind_is_drawn_for_what_was_measured(pictures: dict[str, Picture], record: Record) -> None:
    models = {f"{row.subject}-{row.width}x{row.height}" for row in record.rows if row.height}
    drawn = {f"{kind}-{model}" for kind in ("front", "spread") for model in models}
    drawn |= {f"roofline-{engine}" for engine in ("openvino", "ort", "ncnn")}
    assert set(pictures) == drawn | {"growth-sketch-pixels"}
    assert len({picture.alt for picture in pictures.values()}) == len(pictures)


def test_equal_figures_give_equal_files(record: Record) -> None:
    first, again, other = (
        [picture.render_svg() for picture in draw_pictures(select_rows(record, model), ["front", "spread"])]
        for model in ("maps_unet256", "maps_unet256", "maps_resnet9")
    )
    assert first == again
    assert "dc:date" not in first[0]
    assert [a == b for a, b in zip(first, other, strict=True)] == [False, False]


def test_axes_have_units(pictures: dict[str, Picture]) -> None:
    units = {"front": ("ms", "dB"), "roofline": ("MAC per byte", "GMAC/s")}
    units |= {"growth": ("", "ms"), "spread": ("%", "")}
    for picture in pictures.values():
        (axes,) = picture.figure.axes
        across, up = units[picture.kind]
        assert axes.get_xlabel() and across in axes.get_xlabel() and up in axes.get_ylabel()


def test_the_front_leaves_out_what_has_no_quality(pictures: dict[str, Picture], record: Record) -> None:
    names = {text.split(":")[0] for text in read_legend(pictures["front-maps_resnet9-256x256"])}
    rows = select_rows(record, "maps_resnet9").rows
    assert names == {record.baseline, *(row.name for row in rows if "psnr" in row.values)}  # that is a line


def test_a_roofline_has_peaks_work_per_byte_and_speed(pictures: dict[str, Picture], record: Record) -> None:
    picture = pictures["roofline-openvino"]
    names = [text.split(": at most")[0] for text in read_legend(picture)]
    assert names == ["bf16", "fp32", "int8", "maps_resnet9", "maps_unet256", "sketch"]
    (row,) = [row for row in select_rows(record, "maps_unet256").rows if row.name == "openvino-int8"]
    work, ms = row.values["macs"], row.times["frame"].median_ms
    lines = picture.figure.axes[0].lines
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in lines if len(line.get_xdata()) == 1]
    assert pytest.approx((work / row.values["traffic"], work / ms / 1e6)) in points
    roofs = [max(line.get_ydata()) for line in lines if line.get_label().startswith("int8")]
    peaks = [r.values["peak"] for r in record.rows if r.name == "openvino-int8"]
    assert roofs == pytest.approx([max(peaks) / 1e9])


def test_the_spread_is_in_shares_of_each_median(pictures: dict[str, Picture], record: Record) -> None:
    (axes,) = pictures["spread-maps_resnet9-256x256"].figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert sorted(names) == sorted(row.name for row in select_rows(record, "maps_resnet9").rows)
    low, high = axes.get_xlim()
    assert 50 < low < 100 < high < 200


def test_growth_says_the_exponent(pictures: dict[str, Picture]) -> None:
    names = read_legend(pictures["growth-sketch-pixels"])
    assert {"linear growth", "ort-fp32: exponent 1.00", "openvino-bf16: exponent 1.00"} <= set(names)


def test_strange_and_long_names_are_drawn(record: Record) -> None:
    suffix = "-$x_1$ <b> --> & 100 %" + " word" * 40
    pictures = draw_pictures(select_rows(record, "maps_unet256", suffix))
    assert {picture.kind for picture in pictures} == {"front", "roofline", "spread"}
    for picture in pictures:
        ElementTree.fromstring(picture.render_svg())
        for axes in picture.figure.axes:
            assert axes.get_window_extent().width > 0.4 * picture.figure.bbox.width


def test_without_figures_there_is_no_picture(record: Record) -> None:
    rows = (Row("m", "trt-fp16", 64, 64, notes=("not run",)), Row("m", "live"))
    assert draw_pictures(dataclasses.replace(record, rows=rows)) == []


def test_names_of_files_are_harmless() -> None:
    sized = "8 \N{MULTIPLICATION SIGN} 8"
    assert make_slug("front", "/a b/\N{LATIN SMALL LETTER E WITH ACUTE}?c", sized) == "front-a-b-c-8x8"
