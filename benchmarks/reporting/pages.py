"""Pages of records: docs/benchmarks.md and the report are made of one template, in Markdown."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markdown import Markdown
from markupsafe import Markup

from benchmarks.plots import KINDS, Picture, draw_pictures
from benchmarks.reporting.power_laws import describe_growth
from i2i_sdk.perf.pareto import MAX_PSNR
from i2i_sdk.perf.record import TIMES, VALUES, Record
from i2i_sdk.perf.tables import PLUS_MINUS, Table, build_tables, format_conditions, get_display_name

STATISTICS = {
    "median, min, p95, p99": "of all measured calls after the warm-up, in milliseconds",
    PLUS_MINUS: "half the width of the 95 % confidence interval of the median over the rounds, as a share of "
    "the median: what it is uncertain by",
}


@dataclass(frozen=True)
class PageSection:
    """A record, and what a page shows of it."""

    record: Record
    tables: list[Table]
    pictures: Mapping[str, Picture]  # by the address of each
    source: Path | None = None  # the file that the page links to

    @property
    def growth(self) -> list[str]:
        """What grows worse than linearly."""
        return describe_growth(self.record.rows)

    @property
    def machine(self) -> dict[str, Any]:
        """What stays the same of the machine from one record to the next."""
        return {name: fact for name, fact in self.record.machine.items() if not name.startswith("load")}


def render_report(records: Sequence[Record]) -> str:
    """An HTML page that needs nothing else: no network, no scripts. Equal records give an equal page."""
    sections = [
        PageSection(
            record,
            build_tables(record),
            {_embed_svg(picture.render_svg()): picture for picture in draw_pictures(record)},
        )
        for record in records
    ]
    depth = {"toc": {"toc_depth": "2-2"}}
    converter = Markdown(extensions=["tables", "md_in_html", "toc"], extension_configs=depth)
    converter.ESCAPED_CHARS += ["~", "$", "|"]
    body = converter.convert(render_template("report.md.jinja", sections=sections))
    return render_template("report.html.jinja", sections=[], body=Markup(body))


def render_template(name: str, *, sections: Sequence[PageSection], **content: Any) -> str:
    """The text of a template of this folder; HTML escapes all that it shows, Markdown says where.

    Args:
        name: of a file in this folder.
        sections: of the page.
        content: what else the template names.

    Returns:
        The text.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(["html.jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for function in (escape_markdown, format_conditions, format_fact):
        environment.filters[function.__name__] = function
    environment.globals.update(
        sections=sections,
        kinds=KINDS,
        max_psnr=f"{MAX_PSNR:.0f}",
        definitions=collect_definitions([section.record for section in sections]),
    )
    return environment.get_template(name).render(content)


def collect_definitions(records: Sequence[Record]) -> dict[str, str]:
    """What every quantity in the records means, with the unit that the JSON has it in."""
    rows = [row for record in records for row in record.rows]
    found = dict(STATISTICS) if any(row.times for row in rows) else {}
    found |= {name: f"{TIMES[name]} (ms)" for name in TIMES if any(name in row.times for row in rows)}
    for name, (unit, meaning) in VALUES.items():
        if any(name in row.values for row in rows):
            found[get_display_name(name)] = meaning if unit == "1" else f"{meaning} ({unit} in the JSON)"
    return found


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"[\\`*\[\]|~$>]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", text)


def format_fact(value: object) -> str:
    """A fact as a reader writes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        parts = cast("dict[str, object]", value).items()
        return "; ".join(f"{name}: {format_fact(of)}" for name, of in parts)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _embed_svg(text: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(text.encode()).decode()}"
