"""Explanations as they are read."""

import re
from collections.abc import Callable

import numpy as np
import pytest
from rich.table import Table

from jaxrec.console.terminal import Terminal
from jaxrec.data.dataset import Dataset
from jaxrec.explanation.parts import Explanation, SignalParts
from jaxrec.explanation.words import as_json, in_short, in_tables
from jaxrec.sources.synthetic import STARS
from tests.conftest import make_ratings

TITLES = ["Sought (2000)", "Loved [b]", "Liked", "So-so", "Disliked"]
KNOWN = make_ratings([(0, 1, 5.0, 0), (0, 2, 4.0, 0), (0, 3, 3.0, 0), (0, 4, 0.5, 0)])


def parts(signal: str, of_known: list[float], *beside: float) -> SignalParts:
    part = sum(of_known) + sum(beside)
    return SignalParts(signal, 0.5, 9.0, 2 * part, np.array(of_known), *beside)


def explanation(*signals: SignalParts, beside: float = 0.0) -> Explanation:
    score = sum(of.part for of in signals) + beside
    row = "hybrid" if len(signals) > 1 else signals[0].signal
    return Explanation(row, 0, score, 1, 3, score, KNOWN, signals, beside)


FUSED = explanation(
    parts("pmf", [0.5, 0.25, 0.01, -0.25], 0.0, -0.125, 0.0625),
    parts("set", [0.25, 0.5, 0.02, -0.125], 2.0, 0.0, 0.0),
    beside=0.0625,
)


@pytest.fixture
def dataset(make_dataset: Callable[..., Dataset]) -> Dataset:
    return make_dataset([(0, i, 5.0, 0) for i in range(5)], 1, 5, TITLES)


def printed(
    dataset: Dataset, of: Explanation, k: int, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    Terminal(0).result(*in_tables(dataset.catalogue, STARS, of, k))
    return capsys.readouterr().out.splitlines()


def cells(lines: list[str]) -> dict[str, list[str]]:
    """What stands in the rows of tables, by the first cell."""
    rows = [re.split(r"[│|]", line)[1:-1] for line in lines if "│" in line]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}


def test_what_says_most_is_shown_the_largest_first_and_the_lines_add_up(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(dataset, FUSED, 3, capsys)
    assert lines[0] == "Sought (2000): rank 1 of 3 by hybrid, score 3.1550"
    found = cells(lines[lines.index(next(x for x in lines if "what speaks" in x)) - 1 :])
    assert list(found) == [
        "Loved [b]",
        "Liked",
        "Disliked",
        "... and 1 others",
        "the item itself, whoever asks",
        "less the mean of the candidates",
        "rest: the fit ends short of its minimum",
        "how many have it",
        "score",
    ]
    assert found["Loved [b]"] == ["5.0", "0.7500", "0.5000", "0.2500"]
    assert found["Disliked"] == ["0.5", "-0.3750", "-0.2500", "-0.1250"]
    for column in (1, 2, 3):
        *figures, whole = [float(row[column] or 0) for row in found.values()]
        assert sum(figures) == pytest.approx(whole, abs=1e-9)
    signals = cells(lines[: lines.index(next(x for x in lines if "what speaks" in x))])
    assert list(signals) == ["set", "pmf", "how many have it", "score"]
    assert signals["set"] == ["0.5000", "5.2900", "2.6450", "84%"]


def test_of_one_signal_there_is_one_column(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(dataset, explanation(parts("ease", [1, 0, 0, -2], 0, 0, 0)), 9, capsys)
    found = cells(lines)
    assert list(found) == ["Loved [b]", "Liked", "So-so", "Disliked", "score"]
    assert found["score"] == ["", "-1.0000"]


def test_a_line_names_the_strongest_signal_and_what_speaks_for_the_item(dataset: Dataset) -> None:
    catalogue = dataset.catalogue
    assert in_short(catalogue, FUSED) == (
        "set gives 2.6450 of it; Loved [b] 0.7500; Liked 0.7500; So-so 0.0300"
    )
    against = explanation(parts("ease", [0, 0, 0, -1.0], 0, 0, 0))
    assert in_short(catalogue, against) == "nothing that is known of the user speaks for it"


def test_json_has_every_part_by_its_id(dataset: Dataset) -> None:
    found = as_json(dataset.catalogue, FUSED)
    assert (found["item_id"], found["rank"], found["score"]) == (1, 1, FUSED.score)
    assert [item["title"] for item in found["known"]] == TITLES[1:]
    total = sum(item["part"] for item in found["known"]) + found["of_familiarity"]
    total += sum(s["of_item"] + s["of_mean"] + s["rest"] for s in found["signals"])
    assert total == pytest.approx(FUSED.score)
    assert found["known"][0]["by_signal"] == {"pmf": 0.5, "set": 0.25}


def test_tables_are_tables(dataset: Dataset) -> None:
    kinds = [type(part) for part in in_tables(dataset.catalogue, STARS, FUSED, 2)]
    assert kinds == [str, Table, Table]
