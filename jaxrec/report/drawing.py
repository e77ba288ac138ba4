"""A figure of matplotlib as a part of a page, and as files."""

import re
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from jaxrec.files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#0a0b0c"
"""Of text and axes; on a page it gives way to the colour of the text around it."""
COLOURS = ("#3d7ab8", "#c05a1e", "#2f8f5b", "#a2549c", "#87761c", "#bb4a63")
"""Of series: at least 3 to 1 against white and against near-black, so one set serves both."""
INCHES = 4.8
"""Width: on a phone text keeps its size, and a desktop has room for two."""
STYLE: Any = {
    "axes.edgecolor": INK, "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK,
    "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False, "font.size": 10,
    "axes.titlesize": 10, "legend.frameon": False, "text.parse_math": False,
}  # fmt: skip
NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML holds; matplotlib writes what it is given."""
styled = matplotlib.rc_context(STYLE)
"""Around whatever draws: text and axes take their style when they are made."""


@dataclass(frozen=True)
class Chart:
    """A drawing with what it is called, and what it shows to those who cannot see it."""

    name: str
    """Of its files, and of nothing else on the page."""
    title: str
    says: str
    figure: Figure

    def inline(self) -> Markup:
        """SVG that inherits colour and typeface from the page that it is put into."""
        # names within a drawing are hashes, salted: two of a page must not share any
        with matplotlib.rc_context(STYLE | {"svg.hashsalt": self.name}):
            svg = drawn(self.figure, "svg", transparent=True, metadata={"Date": None}).decode()
        svg = svg[svg.index("<svg") :]
        svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
        svg = re.sub(r'<g id="[^"]*"', "<g", svg)
        svg = svg.replace(INK, "currentColor")
        svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", svg)
        svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
        svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
        says, title = (NO_XML.sub("\ufffd", text) for text in (self.says, self.title))
        head = Markup('<svg role="img" aria-label="{}"').format(says)
        body = svg.removeprefix("<svg").replace(">", f"><title>{escape(title)}</title>", 1)
        return head + Markup(body)

    def save(self, folder: Path) -> None:
        """Write it as `NAME.svg` and `NAME.png`, on white, each whole or not at all."""
        for suffix, more in (("svg", {"metadata": {"Date": None}}), ("png", {"dpi": 200})):
            with (
                whole_file(folder / f"{self.name}.{suffix}") as partial,
                matplotlib.rc_context(STYLE | {"svg.hashsalt": self.name}),
            ):
                partial.write_bytes(drawn(self.figure, suffix, facecolor="white", **more))


def drawn(figure: Figure, form: str, **more: Any) -> bytes:
    """What matplotlib writes in a format (`svg`), whatever the names in it.

    Raises:
        ValueError: it knows no such format.
    """
    out = BytesIO()
    # text stays text, for whoever shows it has more scripts than matplotlib
    with warnings.catch_warnings(), matplotlib.rc_context({"svg.fonttype": "none"}):
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure.savefig(out, format=form, **more)
    if form != "svg":
        return out.getvalue()
    return NO_XML.sub("\ufffd", out.getvalue().decode()).encode()


def panels(
    height: float, many: int = 1, below: bool = False, sharex: bool = False, sharey: bool = False
) -> "tuple[Figure, list[Axes]]":
    """A figure of so many inches in height, and its axes: beside or below each other."""
    figure = Figure(figsize=(INCHES, height), layout="constrained")
    rows, columns = (many, 1) if below else (1, many)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)
    return figure, list(axes.flat)
