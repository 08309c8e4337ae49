"""The pictures: what they show, and that equal figures give equal files."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ElementTree

import made_up_records as made
import pytest

from benchmarks.plots import Picture, draw_pictures, make_slug
from i2i_sdk.perf.record import Record, Row


@pytest.fixture(scope="module")
def record() -> Record:
    return made.make_engines_record()


@pytest.fixture(scope="module")
def pictures(record: Record) -> dict[str, Picture]:
    return {picture.slug: picture for picture in draw_pictures(record)}


def select_rows(record: Record, max_rows: int = 99, suffix: str = "") -> Record:
    """Less to draw: one model at one size, `max_rows` rows, and something behind the names."""
    rows = [r for r in record.rows if r.subject == "maps_unet256" and r.width == 256 and r.batch == 1]
    named = [dataclasses.replace(row, subject=row.subject + suffix, name=row.name + suffix) for row in rows]
    return dataclasses.replace(record, rows=tuple(named[:max_rows]))


def read_legend(picture: Picture) -> list[str]:
    (legend,) = picture.figure.legends
    return [text.get_text() for text in legend.get_texts()]


def test_every_kind_is_drawn_for_what_was_measured(pictures: dict[str, Picture]) -> None:
    fronts = {f"front-{model}-{side}x{side}" for model in made.MODELS for side in made.SIDES}
    rooflines = {f"roofline-{engine}" for engine in ("openvino", "ort", "ncnn")}
    spreads = {f"spread-{model}-256x256" for model in made.MODELS}
    growths = {f"growth-{model}-{against}" for model in made.MODELS for against in ("pixels", "batch")}
    assert set(pictures) == fronts | rooflines | spreads | growths
    assert len({picture.alt for picture in pictures.values()}) == len(pictures)


def test_equal_figures_give_equal_files(record: Record) -> None:
    first, again, other = (
        [picture.render_svg() for picture in draw_pictures(select_rows(of, 5), ["front", "spread"])]
        for of in (record, record, made.make_engines_record(seed=1, samples=50))
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


def test_the_front_leaves_out_what_has_no_quality(pictures: dict[str, Picture]) -> None:
    names = {text.split(":")[0] for text in read_legend(pictures["front-maps_resnet9-256x256"])}
    variants = {name for name, (_, psnr) in made.MODELS["maps_resnet9"].items() if psnr is not None}
    assert names == {*variants, made.BASELINE}  # the baseline is a line


def test_a_roofline_has_peaks_work_per_byte_and_speed(record: Record) -> None:
    (picture,) = [p for p in draw_pictures(select_rows(record), ["roofline"]) if p.slug == "roofline-ncnn"]
    assert {"fp32: at most 190 GMAC/s", "fp16: at most 205 GMAC/s", "maps_unet256"} == set(
        read_legend(picture)
    )
    row = next(r for r in select_rows(record).rows if r.name == "ncnn-fp16")
    expected = (
        row.values["macs"] / row.values["traffic"],
        row.values["macs"] / row.times["frame"].median_ms / 1e6,
    )
    lines = picture.figure.axes[0].lines
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in lines if len(line.get_xdata()) == 1]
    assert pytest.approx(expected) in points
    assert {max(line.get_ydata()) for line in lines if len(line.get_xdata()) == 3} == {190.0, 205.0}


def test_the_spread_is_in_shares_of_each_median(pictures: dict[str, Picture]) -> None:
    (axes,) = pictures["spread-maps_resnet9-256x256"].figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[-1] == "openvino-int8" and sorted(names) == sorted(made.MODELS["maps_resnet9"])
    low, high = axes.get_xlim()
    assert 90 < low < 100 < high < 200


def test_growth_says_the_exponent(pictures: dict[str, Picture]) -> None:
    names = read_legend(pictures["growth-maps_resnet9-pixels"])
    assert {"linear growth", "ncnn-fp32: exponent 1.15", "openvino-bf16: exponent 1.02"} <= set(names)


def test_strange_and_long_names_are_drawn(record: Record) -> None:
    suffix = "-$x_1$ <b> --> & 100 %" + " word" * 40
    pictures = draw_pictures(select_rows(record, suffix=suffix))
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
