"""The page: chapters of text, tables and charts as one HTML file that needs no other."""

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from jaxrec.files import whole_file
from jaxrec.report.drawing import Chart

HERE = Path(__file__).parent


class Cell(NamedTuple):
    """What stands in a table."""

    text: str
    by: float | str | None = None
    """What it is sorted by; by the text if it is None."""
    marked: bool = False
    """Does it stand out?"""


@dataclass(frozen=True)
class Table:
    """Rows of cells; the first of each row is its heading."""

    caption: str
    headings: tuple[str, ...]
    rows: list[list[Cell]]
    sortable: bool = False
    words: bool = False
    """Are the cells words, set to the left, and not figures?"""
    note: str = ""
    """What its marks mean."""


@dataclass(frozen=True)
class Chapter:
    """A part of a section, under a heading of its own."""

    title: str
    said: Sequence[str] = ()
    """Paragraphs; what stands between backticks is set as code."""
    tables: Sequence[Table] = ()
    charts: Sequence[Chart] = ()
    commands: Sequence[str] = ()
    facts: Mapping[str, object] = field(default_factory=dict)
    """A name and what it is, a line each."""


@dataclass(frozen=True)
class Section:
    """A run folder, a study, or what several are side by side."""

    title: str
    chapters: list[Chapter] = field(default_factory=list)
    synthetic: bool = False


def write_page(out: Path, sections: Sequence[Section], version: str) -> None:
    """Write the page, whole or not at all; whatever it is told stands there as text.

    No part comes from elsewhere, and its policy allows no script but the one it has.
    """
    templates = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["told"] = _told
    script, style = (
        Markup((HERE / name).read_text(encoding="utf-8")) for name in ("page.js", "page.css")
    )
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = templates.get_template("page.html").render(
        sections=sections, script=script, style=style, digest=digest, version=version
    )
    with whole_file(out) as partial:
        partial.write_text(page, encoding="utf-8", errors="replace")  # paths may be no text


def charts_of(sections: Sequence[Section]) -> list[Chart]:
    """Every chart of the page, in order."""
    return [
        chart for section in sections for chapter in section.chapters for chart in chapter.charts
    ]


def _told(line: str) -> Markup:
    """A line as HTML: every other part between backticks is code."""
    parts = line.split("`")
    tags = ("{}", "<code>{}</code>")
    return Markup("").join(Markup(tags[n % 2]).format(part) for n, part in enumerate(parts))
