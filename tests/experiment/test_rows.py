"""Which rows a score card has."""

from jaxrec.experiment.rows import LABELS, rows_with
from jaxrec.models.registry import MODELS

LEARNED = [*MODELS, "hybrid"]


def names(embeddings: list[str], **options: bool) -> list[str]:
    return [row.name for row in rows_with(embeddings, **options)]


def test_the_published_table_is_whole_whatever_is_there() -> None:
    table = [f"mf+{name}" for name in LABELS]
    assert names([], whole=True) == ["mf", *table, *LEARNED]
    rows = names(["minilm", "other"], whole=True)
    assert rows[:3] == ["mf", "mf+minilm", "text+minilm"]
    assert rows[len(table) + 2 : -len(LEARNED)] == ["mf+other", "text+other"]


def test_elsewhere_there_are_rows_of_what_is_there() -> None:
    assert names(["other"]) == ["mf", "mf+other", *LEARNED]


def test_the_published_program_has_nothing_for_what_is_cold() -> None:
    assert names(["minilm"], published=False) == LEARNED


def test_a_row_says_what_it_needs() -> None:
    rows = {row.name: row for row in rows_with(["minilm"])}
    assert (rows["mf+minilm"].factors, rows["mf+minilm"].embeddings) == ("mf", "minilm")
    assert (rows["pmf"].factors, rows["pmf"].learned) == ("pmf", False)
    assert (rows["hybrid"].factors, rows["hybrid"].learned) == (None, True)
