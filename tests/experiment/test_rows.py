"""Which rows a score card has."""

from pathlib import Path

import pytest

from jaxrec.errors import InputError
from jaxrec.experiment.folder import RunFolder, open_run
from jaxrec.experiment.rows import (
    LABELS,
    check_names,
    factors_cost,
    lacking,
    rows_of,
    rows_with,
    unchosen,
    unread,
    unread_factors,
)
from jaxrec.files import write_json
from jaxrec.models.cost import START
from jaxrec.models.registry import MODELS
from jaxrec.pmf.objective import PmfSettings

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


@pytest.mark.parametrize("protocol", ["strict", "temporal", "temporal-user", "leave-one-out"])
@pytest.mark.usefixtures("small_synthetic")
def test_published_rows_are_there_elsewhere_if_they_are_named(
    tmp_path: Path, protocol: str
) -> None:
    run = open_run(tmp_path / "run", "synthetic", protocol)
    assert not [row.name for row in rows_of(run) if row.name.startswith(("mf", "text+"))]
    named = rows_of(run, ("mf", "pmf", "mf+minilm"))
    assert [row.name for row in named] == ["mf", "mf+minilm", "pmf"]
    mf, fused, _ = named
    assert lacking(run, mf) == f"jaxrec train-pmf --run {run.path} --solver sequential"
    with_embeddings(run, "minilm", "honest")  # the only ones there are
    run.factors_path("mf").touch()
    assert lacking(run, fused) is None
    check_names(run, ("mf+to-be-embedded",))
    with pytest.raises(InputError, match=r"no row 'mf\+to-be-embedded'"):
        rows_of(run, ("mf+to-be-embedded",))
    with pytest.raises(InputError, match="no row 'bpr'"):
        check_names(run, ("mf", "bpr"))


@pytest.mark.parametrize("protocol", ["cold-items", "cold-users"])
@pytest.mark.usefixtures("small_synthetic")
def test_published_rows_are_refused_where_somebody_is_new(tmp_path: Path, protocol: str) -> None:
    run = open_run(tmp_path / "run", "synthetic", protocol)
    for check in (rows_of, check_names):
        for name in ("mf", "mf+minilm"):
            with pytest.raises(InputError, match=r"knows nobody new.*give --protocol published"):
                check(run, ("pmf", name))


def test_factors_take_longer_one_rating_after_the_other(published: RunFolder) -> None:
    settings = PmfSettings()._replace(factors=100, sweeps=200)
    fast = factors_cost(published, settings)
    slow = factors_cost(published, settings._replace(solver="sequential"))
    twice = factors_cost(published, settings._replace(solver="sequential", sweeps=400))
    assert slow.seconds > fast.seconds
    assert twice.seconds - START == pytest.approx(2 * (slow.seconds - START))
    assert slow.asking == 0


@pytest.fixture
def published(tmp_path: Path, small_synthetic: None) -> RunFolder:
    return open_run(tmp_path / "run", "synthetic", "published")


def with_embeddings(run: RunFolder, name: str, kind: str, **card: str) -> None:
    path = run.embeddings_path(name, kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    write_json(path.with_suffix(".json"), card)


def test_embeddings_that_a_row_does_not_read_are_told_with_what_makes_those_it_reads(
    published: RunFolder,
) -> None:
    command = f"jaxrec embed --run {published.path} --model bert --finetune"
    write_json(published.lesson_path("bert-ft", "honest") / "card.json", {"model": "bert"})
    assert unread(published, "bert-ft", "honest") == (
        "bert-ft: rows mf+bert-ft and text+bert-ft read embeddings of the published texts; run"
        f" `{command} --preset published` too"
    )
    assert unread(published, "bert-ft", "published") == (
        f"bert-ft: rows that learn read embeddings of the honest texts; run `{command}` too"
    )
    assert unread(published, "bert-ft-draw2", "published") is None
    with_embeddings(published, "bert-ft", "published")
    assert unread(published, "bert-ft", "honest") is None


def test_a_row_whose_embeddings_are_of_other_texts_says_so(published: RunFolder) -> None:
    (row,) = rows_of(published, ("mf+minilm-ft",))
    command = f"jaxrec embed --run {published.path} --model minilm --finetune --preset published"
    assert lacking(published, row) == command
    with_embeddings(published, "minilm-ft", "honest", model="minilm", finetuned_from="minilm")
    told = f"it reads the published texts, not the honest ones: {command}"
    assert lacking(published, row) == told


def test_embeddings_that_may_not_be_read_are_told(published: RunFolder) -> None:
    with_embeddings(published, "bert", "honest")
    assert unchosen(published, "bert") is None
    with_embeddings(published, "other", "honest")
    with_embeddings(published, "third", "published")
    assert "these embeddings or those of other, whichever" in str(unchosen(published, "bert"))


def test_factors_that_rows_do_not_read_are_told(published: RunFolder, tmp_path: Path) -> None:
    strict = open_run(tmp_path / "strict", "synthetic", "strict")
    sequential = {"solver": "sequential", "asked": True}
    assert unread_factors(published, sequential) is None
    named = f"only rows that are named read these: `jaxrec eval --run {strict.path} --row mf`"
    assert named in str(unread_factors(strict, sequential))
    asked = {"solver": "alternating", "asked": True}
    assert "row pmf alone reads these" in str(unread_factors(strict, asked))
    assert unread_factors(strict, asked | {"asked": False}) is None
