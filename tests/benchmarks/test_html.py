"""The report: complete, on its own, true to the records, safe with strangers' names."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import made_up_records as made
import pytest
from playwright.sync_api import Page, sync_playwright

from benchmarks.reporting.html import main, render_report
from i2i_sdk.perf.record import Record, Row, write_record

CHROMIUM = Path("/usr/bin/chromium")
SECTIONS = ["Variants", "Pictures", "Other measurements", "Worse than linear", "Machine"]
SECTIONS += ["How to read the figures", "Measure again"]


class Outline(HTMLParser):
    """What a page consists of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(page)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep it."""
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        """Keep it."""
        self.words.append(data)


@pytest.fixture(scope="module")
def records() -> list[Record]:
    engines = made.make_engines_record()
    rows = tuple(row for row in engines.rows if row.subject == "maps_resnet9")
    return [dataclasses.replace(engines, rows=rows), made.make_live_record()]


@pytest.fixture(scope="module")
def page(records: list[Record]) -> str:
    return render_report(records)


def make_record_of(record: Record, *rows: Row) -> Record:
    """Nothing that pictures are drawn of: quick."""
    return dataclasses.replace(record, rows=rows or (Row("m", "a", 8, 8, values={"memory": 1e6}),))


def test_the_file_needs_nothing_else_and_its_links_lead_somewhere(page: str) -> None:
    outline = Outline(page)
    assert not {"script", "link", "iframe", "object", "img"} & set(outline.tags)
    assert not [name for name, _ in outline.attributes if name == "src" or name.startswith("on")]
    assert "@import" not in page
    ids = [value for name, value in outline.attributes if name == "id"]
    links = [value for name, value in outline.attributes if name in ("href", "xlink:href")]
    links += re.findall(r"url\((.*?)\)", page)
    assert len(ids) == len(set(ids)) and {f"#{name}" for name in ids} >= set(links) > set()


def test_everything_stands_in_the_order_of_reading(page: str) -> None:
    assert re.findall(r"<h2>(.*?)</h2>", page) == SECTIONS
    text = Outline(page).text
    for expected in (
        "Example CPU avx2 avx512_bf16",
        "load 0.11 before and 2.04 after",
        "here and below: energy is not available on this machine",
        "trt-fp16: not run: no NVIDIA GPU",
        "maps_resnet9, ncnn-fp32, with pixels: exponent 1.15, a doubling takes 11 % more time",
        "from the moment a camera sends a picture",
        "make bench",
    ):
        assert expected in text
    assert "openvino-bf16, with pixels" not in text  # linear


def test_pictures_can_be_heard_and_follow_the_scheme(page: str) -> None:
    pictures = re.findall(r'<svg role="img" aria-label="([^"]+)"', page)
    assert len(pictures) == len(set(pictures)) == 10
    assert "fill: var(--paper)" in page and "#ffffff" not in page.split("</style>", 1)[1]


def test_equal_records_give_an_equal_page(records: list[Record]) -> None:
    assert render_report(records[1:]) == render_report(records[1:])


def test_marks_and_checks_stand_above_and_beside_the_figures(records: list[Record]) -> None:
    record = make_record_of(records[1])
    assert 'role="alert"' not in render_report([record])
    checked = dataclasses.replace(made.add_marks(record, "busy"), facts={"checks": {"fast": 1, "fair": 0}})
    page = render_report([checked])
    banner, rest = page[page.index('role="alert"') :].split("<nav>")
    assert "Do not rely on these figures" in banner and f"{record.title}: busy" in banner
    assert "Not to be relied on: busy" in rest and "<details open>" in rest
    for expected in ("1 of 2 checks did not hold", "DID NOT HOLD: fair", "held: fast"):
        assert expected in Outline(rest).text


def test_a_share_of_the_limit_has_a_bar(records: list[Record]) -> None:
    rows = (Row("m", "a", 8, 8, values={"of_peak": 0.82, "of_limit": 0.82}), Row("m", "b", 8, 8))
    styles = [
        v for n, v in Outline(render_report([make_record_of(records[0], *rows)])).attributes if n == "style"
    ]
    assert styles == ["--share: 82%"]


def test_names_of_strangers_are_text(records: list[Record]) -> None:
    evil = "\"'--></style><script>alert(1)</script> bf16"
    row = next(row for row in records[0].rows if row.name == "openvino-bf16" and row.samples)
    record = made.add_marks(records[0], evil)
    bad = dataclasses.replace(row, subject=evil, name=evil, notes=(evil,))
    outline = Outline(
        render_report(
            [dataclasses.replace(record, title=evil, rows=(bad,), machine={evil: 1}, facts={evil: [evil]})]
        )
    )
    assert "script" not in outline.tags
    assert outline.tags.count("style") == 1 + outline.tags.count("svg")
    assert not [name for name, _ in outline.attributes if name.startswith("on")]
    assert evil in outline.text


def test_the_command_writes_the_page_or_names_what_is_no_record(
    records: list[Record], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, out = make_record_of(records[0]), tmp_path / "new" / "report.html"
    (tmp_path / "old.json").write_text("{}")
    assert main([str(tmp_path / "old.json"), "-o", str(out)]) == 2
    assert "old.json" in capsys.readouterr().err and not out.exists()
    write_record(tmp_path / "a.json", record)
    assert main([str(tmp_path / "a.json"), "-o", str(out)]) == 0
    assert out.read_text(encoding="utf-8") == render_report([record])
    assert str(out) in capsys.readouterr().out


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
    names = "[...document.querySelectorAll('tbody th')].map(th => th.getBoundingClientRect().width)"
    assert all(120 < seen < width / 2 for seen in report_tab.evaluate(names) if seen)


def test_dark_paper_reaches_the_pictures(report_tab: Page) -> None:
    seen: set[str] = set()
    for scheme in ("light", "dark"):
        report_tab.emulate_media(color_scheme=scheme)
        paper = report_tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert report_tab.evaluate("getComputedStyle(document.querySelector('svg path')).fill") == paper
        seen.add(paper)
    assert len(seen) == 2
