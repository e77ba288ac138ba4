"""Which row answers where none is named."""

from pathlib import Path

import pytest

from jaxrec.evaluation.card import write_card
from jaxrec.experiment.folder import open_run
from jaxrec.serving.fit import row_to_ask
from tests.cards import row_card, score_card_of

PUBLISHED, EASE, TEXT = row_card("mf", 0.6), row_card("ease", 0.4), row_card("text", 0.5)
SURE = row_card("hybrid", 0.3)


@pytest.mark.parametrize(
    ("rows", "known_alone", "expected"),
    [
        ([PUBLISHED, EASE, TEXT], False, "text"),
        ([PUBLISHED, EASE, TEXT], True, "mf"),
        ([PUBLISHED], False, "hybrid"),
        ([EASE, SURE, TEXT], False, "hybrid"),
        ([], False, "hybrid"),
    ],
)
def test_the_best_measured_row_answers_where_hybrid_was_not(
    tmp_path: Path, small: None, rows: list, known_alone: bool, expected: str
) -> None:
    said: list[str | None] = []
    run = open_run(tmp_path / "run", "synthetic", say=said.append)
    if rows:
        write_card(run.results_path, score_card_of(*rows))
    said.clear()
    assert row_to_ask(run, known_alone) == expected
    told = [f"hybrid was not measured: {expected} has the best NDCG@5"]
    assert said == (told if expected != "hybrid" else [])
