"""The page: whole by itself, and hostile words are words."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from math import nan
from pathlib import Path
from xml.etree import ElementTree

import pytest

from jaxrec.evaluation.card import Comparison, Mean, ScoreCard, Summary
from jaxrec.report.chapters import (
    Case,
    Evidence,
    Listed,
    Training,
    of_run,
    of_study,
    side_by_side,
)
from jaxrec.report.page import Section, charts_of, write_page
from jaxrec.report.summary import tables
from jaxrec.report.tables import first_parts, further_parts
from tests.cards import PROTOCOL, row_card, score_card_of
from tests.report.test_tables import HYBRID, printed

HOSTILE = "</title></svg><script>alert('`$x$`')</script><!-- \"'"

DATA = ("--data", "songs.csv")


def full(row: str = "hybrid") -> ScoreCard:
    beyond = {"novelty@5": 3.0, "coverage@5": 0.5}
    rows = [
        row_card("pmf", 0.2, beyond_accuracy=beyond),
        row_card(row, 0.3, beyond_accuracy=beyond, gains={"pmf": {"ndcg@5": 0.5}},
                 alpha=0.5, alpha_curve=((0.0, 0.1), (0.5, 0.2)), all_unseen={"ndcg@5": 0.1}),
    ]  # fmt: skip
    return score_card_of(*rows, hybrid=HYBRID)


def evidence(card: ScoreCard, title: str = "A title") -> Evidence:
    trainings = [Training("training-x", f"Fine-tuning of {title}", "epoch",
                          {"loss": [nan, 1.0, 0.5], "validation": [0.1, 0.2, 0.3]})]  # fmt: skip
    lists = {"pmf": [Listed(title, True)], "hybrid": [Listed("B", False), Listed("C", True)]}
    cases = [Case(title, 5, 2, [title], lists, [f"Why {title}"])]
    return Evidence(title, DATA, card, trainings, cases, [f"jaxrec run --run {title}"])


def written(tmp_path: Path, *sections: Section) -> str:
    write_page(tmp_path / "page.html", sections, "1.0")
    return (tmp_path / "page.html").read_text()


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_a_card_with_one_row_is_a_page(tmp_path: Path) -> None:
    page = written(tmp_path, of_run(Evidence("run", DATA, score_card_of(row_card("pmf")))))
    assert "<h2" in page
    assert "Users" not in page
    assert "SYNTHETIC DATA" in page


def test_every_chapter_is_there_where_there_is_something_to_show() -> None:
    titles = [chapter.title for chapter in of_run(evidence(full())).chapters]
    assert titles == [
        "Scores", "How scores are fused", "Popular and rare items", "Beyond accuracy", "Cold items",
        "Training", "User A title, with 5 interactions", "Protocol card", "The same again",
    ]  # fmt: skip


def test_a_page_needs_no_other_file(tmp_path: Path) -> None:
    tags = Tags(written(tmp_path, of_run(evidence(full())))).found
    for tag, attributes in tags:
        assert tag not in ("img", "iframe", "object", "base")
        places = [attributes.get(name) for name in ("src", "href", "xlink:href")]
        assert all(place.startswith(("#", "data:")) for place in places if place)


def test_hostile_words_stay_words(tmp_path: Path) -> None:
    page = written(tmp_path, of_run(evidence(full(HOSTILE), HOSTILE)))
    scripts = [tag for tag, _ in Tags(page).found if tag == "script"]
    assert len(scripts) == 1
    assert "alert('" not in re.sub(r"<(text|title)[^>]*>.*?</\1>", "", page, flags=re.DOTALL)
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(svg)


def test_the_policy_allows_the_one_script(tmp_path: Path) -> None:
    page = written(tmp_path, of_run(evidence(full())))
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page


def test_no_two_parts_share_a_name(tmp_path: Path) -> None:
    runs = [evidence(full()), Evidence("second", DATA, full())]
    parts = [of_run(run, f"run-{n}-") for n, run in enumerate(runs)]
    page = written(tmp_path, side_by_side(runs), *parts)
    names = [attributes["id"] for _, attributes in Tags(page).found if "id" in attributes]
    assert len(names) == len(set(names))


def test_tables_and_charts_say_what_they_are(tmp_path: Path) -> None:
    page = written(tmp_path, of_run(evidence(full())))
    tags = Tags(page).found
    assert all(attributes.get("scope") for tag, attributes in tags if tag == "th")
    charts = [attributes for tag, attributes in tags if tag == "svg"]
    assert charts
    assert all(of.get("role") == "img" and of.get("aria-label") for of in charts)
    assert page.count("<caption>") == page.count("<table")


def test_charts_are_text_in_the_colour_of_the_page() -> None:
    (chart,) = of_run(Evidence("r", DATA, score_card_of(row_card("pmf")))).chapters[0].charts
    svg = str(chart.inline())
    assert "currentColor" in svg
    assert ">pmf</text>" in svg
    assert svg == str(chart.inline())


def test_figures_are_files_of_two_formats(tmp_path: Path) -> None:
    chart, *_ = charts_of([of_run(Evidence("r", DATA, score_card_of(row_card("pmf"))))])
    chart.save(tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["rows.png", "rows.svg"]


def test_run_folders_of_different_protocols_are_told_apart() -> None:
    other = score_card_of(row_card("ease"), protocol={"protocol": "temporal"})
    (chapter,) = side_by_side(
        [Evidence("one", DATA, full()), Evidence("two", DATA, other)]
    ).chapters
    assert chapter.said[0].startswith("Data or protocols differ")
    table = {row[0].text: [cell.text[:6] for cell in row[1:]] for row in chapter.tables[0].rows}
    assert table == {"pmf": ["0.2000", ""], "hybrid": ["0.3000", ""], "ease": ["", "0.4000"]}


def test_what_is_half_written_leaves_the_page_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = written(tmp_path, of_run(evidence(full())))
    monkeypatch.setattr(Path, "write_text", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_page(tmp_path / "page.html", [of_run(evidence(full()))], "1.0")
    assert (tmp_path / "page.html").read_text() == page
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_run_folders_of_different_splits_are_told_apart() -> None:
    one, two = (
        Evidence(seed, DATA, score_card_of(row_card("pmf"), protocol={"split_sha256": seed}))
        for seed in ("7", "42")
    )
    (chapter,) = side_by_side([one, two]).chapters
    assert chapter.said[0].startswith("Splits differ")
    (chapter,) = side_by_side([one, replace(one, path="copy")]).chapters
    assert not chapter.said


def test_a_tie_is_no_zero_below_zero(tmp_path: Path) -> None:
    less = -1e-9
    tie = Comparison(less, less, (less, less), 1.0, 1.0, (less, less))
    rows = [
        row_card(name, 0.2 * (1 + lead), gains={"pmf": {"precision@5": less, "ndcg@5": less}},
                 beyond_accuracy={"diversity@5": less, "miscalibration@5": less})
        for name, lead in (("pmf", 0.0), ("text", less), ("pmf+text", less), ("hybrid", less))
    ]  # fmt: skip
    against = {f"{name}@5": {"pmf": tie, "text": tie} for name in ("precision", "ndcg")}
    hybrid = replace(HYBRID, adds=dict.fromkeys(HYBRID.signals, less), against=against)
    card = score_card_of(*rows, hybrid=hybrid)
    mean = {f"{name}@5": Mean(0.2, (0.2, 0.2), (0.2,)) for name in ("precision", "recall", "ndcg")}
    study = Summary(
        "strict", "tiny", True, ("a", "b"), 10, "users",
        rows=dict.fromkeys(("pmf", "text", "hybrid"), mean | {"tail_recall@5": mean["ndcg@5"]}),
        hits={row: {"hits@5": 1, "tail_hits@5": 0} for row in ("pmf", "text", "hybrid")},
        against=against,
    )  # fmt: skip
    page = written(tmp_path, of_run(evidence(card)), of_study(study, "study", DATA, PROTOCOL, []))
    texts = [
        *printed(*first_parts(card, "run", DATA), *further_parts(card), *tables(study, 5)),
        *re.findall(r">([^<]*)<", page),
    ]
    assert any("0.0%" in text for text in texts)
    assert [text for text in texts if re.search(r"[-−]0\.?0*(?![.\d])", text)] == []  # noqa: RUF001
