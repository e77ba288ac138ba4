"""Several run folders of one data set and protocol: what they share, and their common result."""

import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from jaxrec.border.embeddings import of_fold
from jaxrec.errors import InputError
from jaxrec.evaluation.card import Comparisons, Mean, Numbers, ScoreCard, Summary, read_card
from jaxrec.evaluation.protocol import PROTOCOLS
from jaxrec.evaluation.significance import (
    COMPARED,
    Crossed,
    against,
    hits,
    how_sure,
    interval_and_p,
)
from jaxrec.experiment.folder import PER_USER, RunFolder
from jaxrec.experiment.kept import card_of
from jaxrec.files import file_sha256, read_sealed, whole_file
from jaxrec.sources.tables import UNREADABLE


class Cell(NamedTuple):
    """One run folder of a study: a split, perhaps one of its folds, an initialisation."""

    path: Path
    seed: int | None
    fold: int | None
    init: int | None
    like: tuple[Path, ...] = ()
    """Run folders made before, whose embeddings may be taken over."""


def grid(
    path: Path, protocol: str | None, seed: int | None, seeds: int | None, inits: int
) -> list[Cell]:
    """The run folders of so many splits (with all their folds) and initialisations.

    Where that is one, it is `path` itself, else they lie in it.

    Args:
        path: where.
        protocol: its name; the default's rules if it is None.
        seed: of the first split; 1 by default where there are several.
        seeds: how many splits.
        inits: initialisations of each, and searches.

    Raises:
        InputError: the protocol has one split, or `path` is a run folder itself.
    """
    rules = PROTOCOLS[protocol or next(iter(PROTOCOLS))]
    if seeds is not None and not rules.seeded:
        raise InputError(f"{protocol} has one split; give --inits instead of --seeds")
    if seeds is None and rules.folds == 1 and inits == 1:
        return [Cell(path, seed, None, None)]
    if (path / "experiment.json").exists():
        raise InputError(f"{path} is one run folder; give another --run for several")
    first, cells = 1 if seed is None else seed, list[Cell]()
    splits = range(first, first + (seeds or 1))
    for split, fold, init in itertools.product(splits, range(rules.folds), range(inits)):
        parts = [f"seed-{split}"]
        parts += [f"fold-{fold}"] if rules.folds > 1 else []
        parts += [f"init-{init}"] if inits > 1 else []
        like = tuple(cell.path for cell in cells)
        cells.append(Cell(path / "-".join(parts), split, fold, init, like))
    return cells


def summarise(paths: list[Path]) -> Summary:
    """Mean figures of the rows that all run folders have measured.

    A figure is the mean over the splits of each one's mean over its users. Users and splits are
    drawn anew for the intervals, and for the p values of `hybrid` against every other row, which
    Holm's correction takes as one family with all figures compared. Folds of one split count as
    splits, and so do initialisations where nothing else differs; else a user is first averaged over
    those of a split, and their spread is a part of that of the splits.

    Args:
        paths: run folders with a score card each.

    Returns:
        `rows` by name: mean and its 95 % interval, and the figure of every run folder; `against` by
        metric and row, with the lead in each split; `all_unseen` of the protocol `cold-items`.
    """
    cards = [read_card(path / "results.json") for path in paths]
    for key, what in (("protocol", "protocols"), ("data_sha256", "data")):
        if len({card.protocol.get(key) for card in cards}) > 1:
            raise InputError(f"run folders of different {what} cannot be summarised")
    tables = [_per_user(path, card) for path, card in zip(paths, cards, strict=True)]
    common = set.intersection(*(_values(table, "row") for table in tables))
    rows = [row for row in cards[0].measured if row in common]
    if not rows:
        raise InputError("no row is measured in all run folders; there is nothing to summarise")
    named = [row.name for card in cards for row in card.rows]
    figures = [name for name in tables[0].collect_schema() if name not in ("row", "user_id")]
    compared = [name for name in figures if name.partition("@")[0] in (*COMPARED, "tail_recall")]
    users = pl.LazyFrame({"user_id": sorted(set.union(*(_values(t, "user_id") for t in tables)))})
    splits, drawn = _splits(cards)
    found, found_hits, per_user = dict[str, dict[str, Mean]](), dict[str, Numbers](), {}
    for row in rows:
        runs = np.stack([_figures(table, row, users, figures) for table in tables])
        by_split = np.stack([_mean(runs[of]) for of in splits])
        found[row] = _row(runs, by_split, figures)
        found_hits[row] = hits({name: runs[..., n] for n, name in enumerate(figures)})
        per_user[row] = by_split[..., [figures.index(name) for name in compared]]
    protocol = cards[0].protocol
    return Summary(
        protocol=protocol["protocol"],
        data=protocol["data"],
        synthetic=protocol["synthetic"],
        runs=tuple(path.name for path in paths),
        users=by_split.shape[1],
        intervals=how_sure(by_split.shape[1], len(splits), drawn),
        rows=found,
        hits=found_hits,
        against=_against(per_user, compared) if "hybrid" in rows and len(rows) > 1 else None,
        all_unseen=_all_unseen(cards, rows),
        left_out=tuple(name for name in dict.fromkeys(named) if name not in rows),
        seeds=len({card.protocol["seed"] for card in cards}),
    )


def runs_of(study: Path) -> list[Path]:
    """The run folders that `jaxrec run --seeds N` made in a folder.

    Raises:
        InputError: it has not, or was interrupted.
    """
    summary = study / "summary.json"
    if not summary.exists():
        raise InputError(f"{summary} is not there; give a DIR of `jaxrec run --seeds N --run DIR`")
    remedy = "give the command that made it again"
    names = read_sealed(summary, remedy, {"runs": list})["runs"]
    if not all(isinstance(name, str) for name in names):
        raise InputError(f"{summary}: damaged, runs are not names; {remedy}")
    return [study / name for name in names]


def _splits(cards: list[ScoreCard]) -> tuple[list[list[int]], str]:
    """Which run folders are of the same split, and what such a split is called.

    Splits of other seeds, else the folds of one, else the initialisations.
    """
    for key, drawn in (("seed", "splits"), ("split_sha256", "folds")):
        of = [card.protocol.get(key) for card in cards]
        if len(set(of)) > 1:
            return [[n for n, x in enumerate(of) if x == one] for one in dict.fromkeys(of)], drawn
    return [[number] for number in range(len(cards))], "initialisations"


def _per_user(path: Path, card: ScoreCard) -> pl.LazyFrame:
    """The figures of every user behind a score card; InputError if they are not those."""
    place, stated = path / PER_USER, card.made_from.get("files", {}).get(PER_USER)
    try:
        if stated is None:  # of an earlier version
            pl.read_parquet(place, glob=False)
        elif file_sha256(place) != stated:
            raise InputError(f"{place}: not what the score card was made with")
        return pl.scan_parquet(place, glob=False)
    except (InputError, FileNotFoundError, *UNREADABLE) as error:
        why = str(error).splitlines()[0]
        raise InputError(f"{why}; run `jaxrec eval --run {quote(str(path))}`") from None


def _values(table: pl.LazyFrame, column: str) -> set[Any]:
    return set(table.select(pl.col(column).unique()).collect()[column])


def _figures(
    table: pl.LazyFrame, row: str, users: pl.LazyFrame, figures: list[str]
) -> NDArray[np.float32]:
    """[users, figures] of one row in one run folder; NaN for none."""
    own = table.filter(pl.col("row") == row).select("user_id", pl.col(figures).cast(pl.Float32))
    joined = users.join(own, on="user_id", how="left", maintain_order="left")
    return joined.select(pl.col(figures).fill_null(np.nan)).collect().to_numpy()


def _mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Over the first axis, of what there is; NaN for none."""
    there = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(there, values, 0).sum(axis=0) / there.sum(axis=0, dtype=np.float32)


def _row(
    runs: NDArray[np.float32], by_split: NDArray[np.float32], figures: list[str]
) -> dict[str, Mean]:
    """Of every figure the mean and its interval, and the mean of each run folder.

    Args:
        runs: [run folders, users, figures].
        by_split: [splits, users, figures], of several run folders each perhaps.
        figures: their names.
    """
    (low, high), _ = interval_and_p(by_split)
    means, by_run = Crossed.of(by_split).mean, Crossed.of(runs).by_split
    return {
        name: Mean(float(means[n]), (float(low[n]), float(high[n])), tuple(by_run[:, n].tolist()))
        for n, name in enumerate(figures)
    }


def _against(per_user: dict[str, NDArray[np.float32]], figures: list[str]) -> Comparisons:
    """Of the figures that somebody has in every row."""
    known = [
        number
        for number in range(len(figures))
        if not any(np.isnan(values[..., number]).all() for values in per_user.values())
    ]
    own = {row: values[..., known] for row, values in per_user.items()}
    return against(own, [figures[number] for number in known])


def _all_unseen(cards: list[ScoreCard], rows: list[str]) -> dict[str, Numbers] | None:
    """By row the mean over the cards; None where every unseen item is a candidate anyway."""
    found = {}
    for row in rows:
        by_card = [card.measured[row].all_unseen for card in cards]
        if by_card[0]:
            found[row] = {name: float(np.mean([of[name] for of in by_card])) for name in by_card[0]}
    return found or None


def adopt_taught(run: RunFolder, name: str, model_id: str, others: Sequence[Path]) -> str | None:
    """Make sure of fine-tuned embeddings of the honest texts, if any run folder has made them.

    Initialisations of a split have its texts and ratings in common, and so share an encoder.

    Args:
        run: the run folder that wants them.
        name: of the embeddings.
        model_id: what was fine-tuned, as cards call it.
        others: run folders from which they may be copied.

    Returns:
        In words, where they are from; None if they are to be made.
    """
    wanted = run.embeddings_path(name, "honest")
    for holder in (run.path, *others):
        made = holder / wanted.relative_to(run.path)
        if not _taught_the_same(run, made, model_id):
            continue
        if made != wanted:
            folds = range(len(card_of(made).get("folds_sha256", [])))
            for fold in folds:
                _copy(of_fold(made, fold), of_fold(wanted, fold))
            for suffix in (wanted.suffix, ".json"):
                _copy(made.with_suffix(suffix), wanted.with_suffix(suffix))
        run.read_embeddings(name, "honest")  # refuses what is damaged
        if holder == run.path:
            return f"{name}: embeddings are there already"
        return f"{name}: embeddings of {holder}, which has the same texts and split"
    return None


def encoded_elsewhere(run: RunFolder, name: str, others: Sequence[Path]) -> list[Path]:
    """Files, there or not, in which other run folders keep embeddings called `name`."""
    return [other / run.embeddings_path(name).relative_to(run.path) for other in others]


def _taught_the_same(run: RunFolder, made: Path, model_id: str) -> bool:
    """Are these embeddings there, of that model, and taught by this run's texts and split?"""
    card = card_of(made) if made.exists() else {}
    if card.get("finetuned_from") != model_id:
        return False
    lesson = card.get("training", {})
    same_texts = lesson.get("texts_sha256") == run.texts_sha256("honest")
    return same_texts and run.taught_here(lesson) and not run.taught_what_judges(card)


def _copy(made: Path, wanted: Path) -> None:
    with whole_file(wanted) as beside:
        shutil.copyfile(made, beside)
