"""The score card and its JSON are the same, whatever the figures."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxrec.errors import InputError
from jaxrec.evaluation.card import (
    VERSION,
    AbsentRow,
    Comparison,
    Draws,
    Figures,
    FusionCard,
    RowCard,
    ScoreCard,
    Spread,
    read_card,
    write_card,
)
from jaxrec.files import write_json
from tests.cards import row_card, score_card_of

NAMES = st.text("abc+-", min_size=1, max_size=5)
FLOATS = st.floats(allow_infinity=False)
"""NaN among them: a figure that nobody has."""
NUMBERS = st.dictionaries(NAMES, FLOATS, max_size=2)
CUT_OFFS = st.integers(1, 100)
PAIRS = st.tuples(FLOATS, FLOATS)
CURVES = st.lists(PAIRS, max_size=2).map(tuple)


def by_name(values: st.SearchStrategy[Any], keys: st.SearchStrategy[Any] = NAMES) -> Any:
    return st.dictionaries(keys, values, max_size=2)


FIGURES = st.builds(Figures, metrics=NUMBERS, ci95=by_name(PAIRS), p_vs_pmf=st.none() | NUMBERS)
ROWS = st.builds(
    RowCard,
    name=NAMES,
    label=st.text(),
    users=st.integers(0),
    hits=st.integers(0),
    figures=FIGURES,
    by_item_third=by_name(FIGURES),
    by_user_third=by_name(FIGURES),
    tied_share=st.floats(0, 1),
    gains=by_name(NUMBERS, st.sampled_from(["mf", "pmf"])),
    settings=st.none() | by_name(st.integers() | st.text() | st.none()),
    fusion=st.none() | NAMES,
    alpha=st.none() | st.floats(0, 1),
    alpha_curve=CURVES,
    metrics_as=by_name(by_name(NUMBERS, CUT_OFFS)),
    all_unseen=NUMBERS,
    beyond_accuracy=NUMBERS,
)
LEADS = st.lists(FLOATS).map(tuple)
COMPARISONS = st.builds(Comparison, FLOATS, FLOATS, PAIRS, FLOATS, FLOATS, LEADS)
HYBRIDS = st.builds(
    FusionCard,
    signals=st.lists(NAMES, max_size=3).map(tuple),
    winner=NAMES,
    weights=NUMBERS,
    adds=NUMBERS,
    alone=NUMBERS,
    validation_ndcg=NUMBERS,
    calibration=NUMBERS,
    against=by_name(by_name(COMPARISONS)),
    places_differing=by_name(FLOATS, CUT_OFFS),
)
SPREADS = st.builds(Spread, FLOATS, FLOATS, FLOATS, FLOATS)
DRAWS = st.builds(Draws, st.lists(NAMES, max_size=2).map(tuple), by_name(SPREADS))
CARDS = st.builds(
    ScoreCard,
    protocol=by_name(st.integers() | st.text() | st.booleans()),
    rows=st.lists(ROWS | st.builds(AbsentRow, NAMES, NAMES, st.text()), max_size=2).map(tuple),
    made_from=by_name(by_name(st.none() | NAMES)),
    hybrid=st.none() | HYBRIDS,
    reference=NAMES,
    retrieved_ideal=st.booleans(),
    folds=st.integers(1, 9),
    draws=by_name(DRAWS),
)


@given(CARDS)
def test_a_card_comes_back_from_json_as_it_was(card: ScoreCard) -> None:
    text = json.dumps(card.to_json(), allow_nan=False)
    assert repr(ScoreCard.from_json(json.loads(text))) == repr(card)  # NaN is not equal to itself
    assert json.loads(text) == card.to_json()


def test_people_find_what_they_look_for_in_the_json(tmp_path: Path) -> None:
    row = row_card("pmf", metrics_as={"ranx": {5: {"map@5": 0.1}}}, gains={"mf": {"map@5": 0.2}})
    write_card(tmp_path / "results.json", score_card_of(row, AbsentRow("mf", "MF only", "why")))
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["version"] == VERSION
    assert found["protocol"]["data"] == "tiny"
    measured, absent = found["rows"]
    assert absent == {"name": "mf", "label": "MF only", "absent": "why"}
    assert measured["metrics"]["precision@5"] == 0.4
    assert measured["ci95"]["precision@5"] == pytest.approx([0.3, 0.5])
    assert measured["by_item_third"]["tail"]["metrics"]["recall@5"] == 0.4
    assert measured["gain_over_mf"] == {"map@5": 0.2}
    assert measured["metrics_as"] == {"ranx": {"5": {"map@5": 0.1}}}
    assert not {"p_vs_pmf", "settings", "fusion", "alpha", "alpha_curve"} & set(measured)
    assert "beyond_accuracy" not in measured


def test_cut_offs_are_those_of_the_figures() -> None:
    both = row_card("pmf")
    figures = replace(both.figures, metrics={"precision@25": 0.1, "recall@25": 0, "precision@5": 0})
    assert score_card_of(replace(both, figures=figures)).ks == (5, 25)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"rows": []}, f"of an older version; this jaxrec reads version {VERSION}"),
        ({"version": 99}, f"of version 99; this jaxrec reads version {VERSION}"),
        ({"version": VERSION}, "a damaged score card"),
        ({"version": VERSION, "rows": 3}, "a damaged score card"),
        (score_card_of(row_card("mf")).to_json() | {"rows": [{"name": "mf"}]}, "a damaged score"),
        (score_card_of().to_json() | {"made_from": "a hash"}, "a damaged score card"),
    ],
)
def test_a_card_that_cannot_be_read_is_one_line(
    tmp_path: Path, content: dict[str, Any], message: str
) -> None:
    write_json(path := tmp_path / "results.json", content)
    remedy = f"run `jaxrec eval --run {tmp_path}` for a new one"
    with pytest.raises(InputError, match=f"{re.escape(str(path))}: .*{message}.*{remedy}"):
        read_card(path)
