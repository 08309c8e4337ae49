"""The templates of this folder: a page of HTML escapes all that it shows, one of Markdown says where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape


def render_template(template: str, *filters: Callable[[Any], Any], **content: Any) -> str:
    """A template's text; the filters go by their functions' names."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(["html.jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {function.__name__: function for function in filters}
    return environment.get_template(template).render(content)
