"""The report: complete, on its own, true to the records, safe with strangers' names."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import made_up_records as made
import pytest

from benchmarks.reporting.html import main, render_report
from i2i_sdk.perf.record import Record, Row, write_record

CHROMIUM = Path("/usr/bin/chromium")


class Outline(HTMLParser):
    """What a page consists of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.words: list[str] = []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep it."""
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_data(self, data: str) -> None:
        """Keep it."""
        self.words.append(data)

    def find_values(self, name: str) -> list[str]:
        """Of every attribute of this name."""
        return [value or "" for _, key, value in self.attributes if key == name]


@pytest.fixture(scope="module")
def records() -> list[Record]:
    engines = made.make_engines_record()
    rows = tuple(row for row in engines.rows if row.subject == "maps_resnet9")
    return [dataclasses.replace(engines, rows=rows), made.make_live_record()]


@pytest.fixture(scope="module")
def page(records: list[Record]) -> str:
    return render_report(records)


def reduce_record(record: Record) -> Record:
    """Without what pictures are drawn of: quick."""
    rows = [dataclasses.replace(row, samples={}, values={"memory": 1e6}) for row in record.rows[:1]]
    return dataclasses.replace(record, rows=tuple(rows))


def test_the_file_needs_nothing_else(page: str) -> None:
    outline = Outline(page)
    assert not {"script", "link", "iframe", "object", "img"} & set(outline.tags)
    assert not [name for _, name, _ in outline.attributes if name == "src" or name.startswith("on")]
    addresses = [
        *outline.find_values("href"),
        *outline.find_values("xlink:href"),
        *re.findall(r"url\((.*?)\)", page),
    ]
    assert addresses and all(address.startswith("#") for address in addresses)
    assert "@import" not in page


def test_links_inside_lead_somewhere(page: str) -> None:
    outline = Outline(page)
    ids = outline.find_values("id")
    assert len(ids) == len(set(ids))
    inside = [
        *outline.find_values("href"),
        *outline.find_values("xlink:href"),
        *re.findall(r"url\((.*?)\)", page),
    ]
    assert {address[1:] for address in inside} <= set(ids)


def test_everything_stands_in_the_order_of_reading(page: str) -> None:
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert titles == [
        "Variants",
        "Pictures",
        "Other measurements",
        "Worse than linear",
        "Machine",
        "How to read the figures",
        "Measure again",
    ]
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
    live = [records[1]]
    assert render_report(live) == render_report(live)


def test_a_record_with_marks_has_a_banner(records: list[Record]) -> None:
    record = reduce_record(records[0])
    assert 'role="alert"' not in render_report([record])
    page = render_report([made.add_marks(record, "busy: other processes took 31% of the processor time")])
    banner = page[page.index('role="alert"') : page.index("<nav>")]
    assert "Do not rely on these figures" in banner
    assert "busy: other processes took 31% of the processor time" in banner


def test_marks_and_checks_stand_beside_the_figures(records: list[Record]) -> None:
    live = dataclasses.replace(
        made.add_marks(records[1], "busy"), facts={"checks": {"fast": True, "fair": False}}
    )
    page = render_report([live])
    assert page.index("<h2>Other measurements") < page.index("Not to be relied on: busy")
    assert "<details open><summary>1 of 2 checks did not hold</summary>" in page
    text = Outline(page).text
    assert "DID NOT HOLD: fair" in text and "held: fast" in text


def test_a_share_of_the_limit_has_a_bar(records: list[Record]) -> None:
    rows = (Row("m", "a", 8, 8, values={"of_peak": 0.82, "of_limit": 0.82}), Row("m", "b", 8, 8))
    page = render_report([dataclasses.replace(records[0], rows=rows)])
    assert page.count('class="bar"') == 1
    assert '<td class="bar" style="--share: 82%">82 %</td>' in page


def test_names_of_strangers_are_text(records: list[Record]) -> None:
    evil = "\"'--></style><script>alert(1)</script> bf16"
    row = next(row for row in records[0].rows if row.name == "openvino-bf16" and row.samples)
    bad = dataclasses.replace(row, subject=evil, name=evil, notes=(evil,))
    record = dataclasses.replace(
        made.add_marks(records[0], evil), title=evil, rows=(bad,), machine={evil: evil}, facts={evil: [evil]}
    )
    outline = Outline(render_report([record]))
    assert "script" not in outline.tags
    assert outline.tags.count("style") == 1 + outline.tags.count("svg")
    assert not [name for _, name, _ in outline.attributes if name.startswith("on")]
    assert evil in outline.text


def test_energy_is_shown_where_it_was_told(records: list[Record]) -> None:
    rows = (Row("m", "a", 8, 8, values={"energy": 2.5}), Row("m", "b", 8, 8))
    text = Outline(render_report([dataclasses.replace(records[0], rows=rows)])).text
    assert "energy, J" in text and "2.50" in text and "not available" in text


def test_the_command_writes_the_page(
    records: list[Record], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_record(tmp_path / "a.json", reduce_record(records[0]))
    out = tmp_path / "new" / "report.html"
    assert main([str(tmp_path / "a.json"), "-o", str(out)]) == 0
    assert out.read_text(encoding="utf-8") == render_report([reduce_record(records[0])])
    assert str(out) in capsys.readouterr().out


def test_the_command_names_a_file_that_is_no_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "old.json").write_text("{}")
    assert main([str(tmp_path / "old.json"), "-o", str(tmp_path / "report.html")]) == 2
    assert "old.json" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


@pytest.fixture(scope="module")
def report_tab(page: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """The page in a browser."""
    if not CHROMIUM.exists():
        pytest.skip(f"needs Debian's chromium at {CHROMIUM}")
    from playwright.sync_api import sync_playwright

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
def test_only_tables_scroll_sideways(report_tab: object, width: int) -> None:
    from playwright.sync_api import Page

    assert isinstance(report_tab, Page)
    report_tab.set_viewport_size({"width": width, "height": 800})
    assert report_tab.evaluate("document.documentElement.scrollWidth") == width
    names = "[...document.querySelectorAll('tbody th')].map(th => th.getBoundingClientRect().width)"
    assert all(120 < seen < width / 2 for seen in report_tab.evaluate(names) if seen)


def test_dark_paper_reaches_the_pictures(report_tab: object) -> None:
    from playwright.sync_api import Page

    assert isinstance(report_tab, Page)
    picture = "getComputedStyle(document.querySelector('svg path')).fill"
    page = "getComputedStyle(document.body).backgroundColor"
    seen: set[str] = set()
    for scheme in ("light", "dark"):
        report_tab.emulate_media(color_scheme=scheme)
        paper = report_tab.evaluate(page)
        assert report_tab.evaluate(picture) == paper
        seen.add(paper)
    assert len(seen) == 2
