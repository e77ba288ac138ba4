"""Score cards of any figures and names, as tables, as a page with its charts, and as a plot."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from math import inf, isnan, nan
from pathlib import Path
from random import Random
from xml.etree import ElementTree

from jaxrec.console.terminal import Plain
from jaxrec.evaluation.card import Comparison, Figures, FusionCard, RowCard, ScoreCard
from jaxrec.report.chapters import Case, Evidence, Listed, Training, of_run
from jaxrec.report.page import write_page
from jaxrec.report.plot import plot_card
from jaxrec.report.tables import first_parts, further_parts
from tests.fuzz.drawing import READ, Attempt, text

METRICS = ("precision", "recall", "ndcg", "ndcg_retrieved")
FIGURES = (0.0, 1.0, 0.5, 1e-300, -1e-9, nan)
K = 5


@contextmanager
def of_any(folder: Path) -> Iterator[Attempt]:
    """Whatever a card holds, what is made of it is whole, and names are only words in it."""

    def attempt(draw: Random) -> str:
        card = _card(draw)
        draw.choice((_on_terminal, _as_page, _as_plot))(draw, card, folder)
        return READ

    yield attempt


def _on_terminal(draw: Random, card: ScoreCard, folder: Path) -> None:
    terminal = Plain(file=io.StringIO(), width=draw.choice((20, 80, 200)))
    made = text(draw), ("--data", text(draw))
    terminal.print(*first_parts(card, *made, whole=True), *further_parts(card))


def _as_page(draw: Random, card: ScoreCard, folder: Path) -> None:
    write_page(folder / "page.html", [of_run(_evidence(draw, card))], "1.0")
    page = (folder / "page.html").read_text(encoding="utf-8")
    tags = _Tags(page)
    assert tags.count("script") == tags.count("style") == 1
    drawings = re.findall(r"<svg role.*?</svg>", page, re.DOTALL)
    assert len(drawings) == tags.count("svg") > 0
    for drawing in drawings:
        ElementTree.fromstring(drawing)


def _as_plot(draw: Random, card: ScoreCard, folder: Path) -> None:
    suffix = draw.choice(("svg", "svg", "png", "pdf"))
    plot_card(card, K, folder / f"plot.{suffix}")
    if suffix == "svg":
        ElementTree.parse(folder / "plot.svg")


class _Tags(HTMLParser):
    def __init__(self, page: str):
        super().__init__()
        self.names: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.names.append(tag)

    def count(self, tag: str) -> int:
        return self.names.count(tag)


def _figure(draw: Random) -> float:
    return draw.choice(FIGURES) if draw.random() < 0.4 else draw.random()


def _figures(draw: Random) -> Figures:
    names = [f"{name}@{K}" for name in METRICS]
    values = {name: _figure(draw) for name in names}
    within = {
        name: (nan, nan) if isnan(of) or draw.random() < 0.1 else (of - _spread(draw), of + 0.1)
        for name, of in values.items()
    }
    more: dict[str, float] = {f"hits@{K}": draw.randrange(100), f"coverage@{K}": _figure(draw)}
    p = {name: _figure(draw) for name in names} if draw.random() < 0.5 else None
    return Figures(values | more, within, p)


def _spread(draw: Random) -> float:
    return draw.choice((0.0, 0.1, 1e-12))


def _row(draw: Random, name: str) -> RowCard:
    gains = {"pmf": {f"{metric}@{K}": draw.choice((_figure(draw), inf)) for metric in METRICS}}
    curve = tuple((n / 4, _figure(draw)) for n in range(5)) if draw.random() < 0.2 else ()
    thirds = {third: _figures(draw) for third in ("head", "middle", "tail")}
    active = {third: _figures(draw) for third in ("fewest", "some", "most")}
    beyond = {f"{kind}@{K}": _figure(draw) for kind in ("novelty", "diversity", "miscalibration")}
    return RowCard(
        name, text(draw), draw.randrange(9), draw.randrange(9), _figures(draw), thirds,
        active if draw.random() < 0.5 else {}, draw.random(),
        gains=gains if draw.random() < 0.5 else {}, alpha=draw.random() if curve else None,
        alpha_curve=curve, beyond_accuracy=beyond if draw.random() < 0.5 else {},
    )  # fmt: skip


def _card(draw: Random) -> ScoreCard:
    many = draw.choice((1, 1, 2, 3, 5)) if draw.random() < 0.99 else 100
    known = ["pmf", "hybrid", "pmf+text", "text"]
    names = [draw.choice(known) if draw.random() < 0.5 else text(draw) for _ in range(many)]
    names = list(dict.fromkeys(names))
    rows = tuple(_row(draw, name) for name in names)
    signals = tuple(dict.fromkeys(text(draw) for _ in range(draw.randrange(1, 4))))
    hybrid = None
    if "hybrid" in names:
        others = [name for name in names if name != "hybrid"]
        against = {f"{metric}@{K}": {of: _lead(draw) for of in others} for metric in METRICS[:3]}
        weights, adds, alone = ({name: _figure(draw) for name in signals} for _ in range(3))
        ndcg = {"signal": 0.1, "convex": _figure(draw), "gate": 0.2}
        hybrid = FusionCard(
            signals, text(draw), weights, adds, alone, ndcg, {}, against, {K: _figure(draw)}
        )
    protocol = {"protocol": "strict", "data": text(draw), "synthetic": False, "seed": 1}
    protocol |= {"data_sha256": "0", text(draw): text(draw)}
    return ScoreCard(protocol, rows, {"rows": {}}, hybrid)


def _lead(draw: Random) -> Comparison:
    by = draw.choice((0.0, -1e-12, _figure(draw), -_figure(draw)))
    return Comparison(by, _figure(draw), (by - 0.1, by + 0.1), _figure(draw), _figure(draw), (by,))


def _evidence(draw: Random, card: ScoreCard) -> Evidence:
    listed = [Listed(text(draw), draw.random() < 0.5) for _ in range(draw.randrange(4))]
    lists = dict.fromkeys(list(card.measured)[:3], listed)
    case = Case(text(draw), 3, 1, [text(draw)], lists, [text(draw)])
    series = {text(draw): [_figure(draw) for _ in range(draw.randrange(1, 5))]}
    training = Training("training-x", text(draw), "epoch", series)
    data = ("--data", text(draw))
    return Evidence(text(draw), data, card, [training], [case], [text(draw)])
