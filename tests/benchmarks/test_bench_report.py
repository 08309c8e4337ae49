"""The report: complete, on its own, true to the records, safe with strangers' names."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest
from known_records import add_marks, make_live_record, read_engines_record, select_rows
from playwright.sync_api import Page, sync_playwright

from benchmarks.reporting.pages import render_report
from i2i_sdk.perf.record import Record, Row

CHROMIUM = Path("/usr/bin/chromium")


def parse(page: str) -> ElementTree.Element:
    """The page's elements; raises where it is not well-formed."""
    return ElementTree.fromstring(page.partition("\n")[2])


def read_text(page: str) -> str:
    return " ".join(" ".join(parse(page).itertext()).split())


@pytest.fixture(scope="module")
def records() -> list[Record]:
    engines = select_rows(read_engines_record(), "sketch")
    batches = tuple(dataclasses.replace(row, batch=4) for row in engines.rows if row.height == 256)
    return [dataclasses.replace(engines, rows=engines.rows + batches), make_live_record()]


@pytest.fixture(scope="module")
def page(records: list[Record]) -> str:
    return render_report(records)


def make_record_of(record: Record, *rows: Row) -> Record:
    """Nothing that pictures are drawn of: quick."""
    return dataclasses.replace(record, rows=rows or (Row("m", "a", 8, 8, values={"memory": 1e6}),))


def test_the_file_needs_nothing_else_and_its_links_lead_somewhere(page: str) -> None:
    elements = list(parse(page).iter())
    assert not {"script", "link", "iframe", "object"} & {e.tag for e in elements} and "@import" not in page
    images = [e for e in elements if e.tag == "img"]
    assert len(images) == len({e.get("src") for e in images}) == 11
    assert all(e.get("alt") and e.get("src", "").startswith("data:image/svg+xml;base64,") for e in images)
    ids = [e.get("id") for e in elements if e.get("id")]
    links = {e.get("href") for e in elements if e.tag == "a"}
    assert len(ids) == len(set(ids)) and {f"#{name}" for name in ids} >= links > set()


def test_everything_is_there(page: str) -> None:
    text, tags = read_text(page), [element.tag for element in parse(page).iter()]
    for expected in (
        "Example CPU avx2 avx512_bf16",
        "load 0.11 before and 2.04 after",
        "web-fp32: not run: it runs in a browser",
        "openvino-bf16, with streams: exponent 1.20, a doubling takes 15 % more time",
        "from the moment a camera sends a picture",
        "make bench",
        "Options and versions",
    ):
        assert expected in text
    assert tags.count("table") == 4 + 2
    assert tags.count("details") == 1  # of batch 4
    assert "Do not rely" not in text and "Checks" not in text


def test_equal_records_give_an_equal_page(records: list[Record]) -> None:
    assert render_report(records[1:]) == render_report(records[1:])


def test_marks_and_checks_stand_above_and_beside_the_figures(records: list[Record]) -> None:
    record = make_record_of(records[1])
    checked = dataclasses.replace(add_marks(record, "busy"), facts={"checks": {"fast": 1, "fair": 0}})
    text = read_text(render_report([checked]))
    assert text.index("Do not rely on these figures") < text.index("Not to be relied on : busy")
    assert "held: fast" in text and "DID NOT HOLD : fair" in text


def test_names_of_strangers_are_text(records: list[Record]) -> None:
    evil = "\"'--></style><script>alert(1)</script> | ~b~ $c$ `d` [e](f) \\ *g* bf16"
    row = next(row for row in records[0].rows if row.name == "openvino-bf16")
    bad = dataclasses.replace(row, subject=evil, name=evil, notes=(evil,))
    facts = {evil: [1], "checks": {evil: False}}
    record = dataclasses.replace(add_marks(records[0], evil), title=evil, rows=(bad,), facts=facts)
    page = render_report([dataclasses.replace(record, machine={evil: evil})])
    elements = list(parse(page).iter())
    tags = [element.tag for element in elements]
    assert not {"script", "del", "em"} & set(tags) and tags.count("style") == 1
    assert not [name for element in elements for name in element.attrib if name.startswith("on")]
    assert read_text(page).count(evil) >= 8  # title, marks, machine, table, notes, facts, checks


@pytest.fixture(scope="module")
def report_tab(page: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page in a browser."""
    if not CHROMIUM.exists():
        pytest.skip(f"needs Debian's chromium at {CHROMIUM}")
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(page, encoding="utf-8")
    flags = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=flags)
        tab = browser.new_page()
        tab.goto(file.as_uri())
        yield tab
        browser.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_only_tables_scroll_sideways(report_tab: Page, width: int) -> None:
    report_tab.set_viewport_size({"width": width, "height": 800})
    assert report_tab.evaluate("document.documentElement.scrollWidth") == width
    loaded = report_tab.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert len(loaded) == 11 and min(loaded) > 300
