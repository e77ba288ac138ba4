"""Which rows a score card has."""

from jaxrec.experiment.rows import LABELS, rows_with
from jaxrec.models.registry import MODELS

LEARNED = [*MODELS, "hybrid"]


def names(embeddings: list[str], **options: bool) -> list[str]:
    return [row.name for row in rows_with(embeddings, **options)]


def test_the_published_table_is_whole_whatever_is_there() -> None:
    table = [f"mf+{name}" for name in LABELS]
    assert names([], published=True) == ["mf", *table, *LEARNED]
    rows = names(["minilm", "other"], published=True)
    assert rows[:3] == ["mf", "mf+minilm", "text+minilm"]
    assert rows[len(table) + 2 : -len(LEARNED)] == ["mf+other", "text+other"]


def test_other_protocols_have_rows_that_learn_alone() -> None:
    assert names(["minilm"]) == LEARNED


def test_a_row_says_what_it_needs() -> None:
    rows = {row.name: row for row in rows_with(["minilm"], published=True)}
    assert (rows["mf+minilm"].factors, rows["mf+minilm"].embeddings) == ("mf", "minilm")
    assert (rows["pmf"].factors, rows["pmf"].learned) == ("pmf", False)
    assert (rows["hybrid"].factors, rows["hybrid"].learned) == (None, True)
