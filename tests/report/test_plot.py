"""A drawing is made whatever the card has, or refused in one line."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from jaxrec.errors import InputError
from jaxrec.evaluation.card import FusionCard
from jaxrec.report.charts import bars
from jaxrec.report.plot import plot_card
from tests.cards import row_card, score_card_of
from tests.report.test_tables import HYBRID


@pytest.mark.parametrize("hybrid", [None, HYBRID])
def test_a_card_is_drawn_with_and_without_a_fusion(
    tmp_path: Path, hybrid: FusionCard | None
) -> None:
    card = score_card_of(row_card("pmf"), row_card("hybrid"), hybrid=hybrid)
    plot_card(card, 5, tmp_path / "card.svg")
    drawn = (tmp_path / "card.svg").read_text()
    assert drawn.count('<g id="axes_') == (1 if hybrid is None else 2)


def test_an_ending_that_cannot_be_drawn_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"card\.nothing: "):
        plot_card(score_card_of(row_card("pmf")), 5, tmp_path / "card.nothing")


def test_names_of_any_characters_are_drawn(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    rows = [
        row_card(name) for name in ("mf+\0\x1b\uffff", "mf+日本語", "mf+\U0006aa6a", "\u202e<b>$x$")
    ]
    card = score_card_of(*rows)
    plot_card(card, 5, tmp_path / "card.svg")
    chart = bars(card, 5, "")
    chart.save(tmp_path)
    for svg in (tmp_path / "card.svg", tmp_path / "rows.svg"):
        assert "日本語" in "".join(ElementTree.parse(svg).getroot().itertext())
    assert ElementTree.fromstring(chart.inline()) is not None
    assert [str(warning.message) for warning in recwarn] == []
