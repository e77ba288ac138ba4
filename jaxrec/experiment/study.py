"""Several run folders of one data set and protocol: what they share, and their common result."""

import itertools
import shutil
from collections.abc import Sequence
from math import nan
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from jaxrec.errors import InputError
from jaxrec.evaluation.card import Comparisons, Mean, Numbers, ScoreCard, Summary, read_card
from jaxrec.evaluation.protocol import PROTOCOLS
from jaxrec.evaluation.significance import against, intervals
from jaxrec.experiment.folder import RunFolder
from jaxrec.files import read_json, whole_file

COMPARED = ("precision", "recall", "ndcg", "tail_recall")


class Cell(NamedTuple):
    """One run folder of a study: a split, perhaps one of its folds, an initialisation."""

    path: Path
    seed: int | None
    fold: int | None
    init: int | None
    like: tuple[Path, ...] = ()
    """Run folders made before, whose embeddings may be taken over."""
    settings: Path | None = None
    """The run folder whose settings it shares: initialisations are not tuned anew."""


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
        inits: initialisations of each.

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
        settings = like[-init] if init else None
        cells.append(Cell(path / "-".join(parts), split, fold, init, like, settings))
    return cells


def adopt_settings(run: RunFolder, cell: Cell) -> bool:
    """Take over the settings that another initialisation of the split was tuned to, if any."""
    if cell.settings is None:
        return False
    tuned = cell.settings / "tuned"
    if tuned.exists():
        shutil.copytree(tuned, run.path / "tuned", dirs_exist_ok=True)
    return True


def summarise(paths: list[Path]) -> Summary:
    """Mean figures of the rows that all run folders have measured.

    Each user is averaged over the run folders (splits, initialisations or folds) in which there was
    something to find, then users are drawn anew: intervals, and p values of `hybrid` against every
    other row with Holm's correction.

    Args:
        paths: run folders with a score card each.

    Returns:
        `rows` by name: mean of the users' averages and its 95 % interval, and the figure of every
        run folder; `against` by metric and row; `all_unseen` of the protocol `cold-items`. Under
        `cold-items` the mean is that of the folds, and the interval still that of the users.
    """
    cards = [read_card(path / "results.json") for path in paths]
    for key, what in (("protocol", "protocols"), ("data_sha256", "data")):
        if len({card.protocol.get(key) for card in cards}) > 1:
            raise InputError(f"run folders of different {what} cannot be summarised")
    tables = [pl.read_parquet(path / "per_user.parquet") for path in paths]
    common = set.intersection(*(set(table["row"].unique()) for table in tables))
    rows = [row for row in cards[0].measured if row in common]
    if not rows:
        raise InputError("no row is measured in all run folders; there is nothing to summarise")
    named = [row.name for card in cards for row in card.rows]
    figures = [name for name in tables[0].columns if name not in ("row", "user_id")]
    per_user = _averaged(tables, rows, figures)
    protocol = cards[0].protocol
    return Summary(
        protocol=protocol["protocol"],
        data=protocol["data"],
        synthetic=protocol["synthetic"],
        runs=tuple(path.name for path in paths),
        users=len(per_user[rows[0]]),
        rows={
            row: _row(values, [_means(table, row, figures) for table in tables], cards[0].folds > 1)
            for row, values in per_user.items()
        },
        against=_against(per_user, figures) if "hybrid" in rows and len(rows) > 1 else None,
        all_unseen=_all_unseen(cards, rows),
        left_out=tuple(name for name in dict.fromkeys(named) if name not in rows),
    )


def _averaged(
    tables: list[pl.DataFrame], rows: list[str], figures: list[str]
) -> dict[str, NDArray[np.floating]]:
    """By row [users, figures]: the mean of a user's figures over the run folders; NaN for none."""
    everything = pl.concat([table.filter(pl.col("row").is_in(rows)) for table in tables])
    averaged = (
        everything.with_columns(pl.col(figures).fill_nan(None))
        .group_by("row", "user_id")
        .agg(pl.col(figures).mean())
        .sort("user_id")
    )
    return {row: averaged.filter(pl.col("row") == row).select(figures).to_numpy() for row in rows}


def _row(
    per_user: NDArray[np.floating], by_run: list[dict[str, float]], folds: bool
) -> dict[str, Mean]:
    """Of every figure the mean over the folds, or else over the users, and the users' interval."""
    low, high = intervals(per_user)
    found = {}
    for number, name in enumerate(by_run[0]):
        values, of_runs = per_user[:, number], tuple(means[name] for means in by_run)
        if folds:
            mean = float(np.mean(of_runs))
        else:
            mean = nan if np.isnan(values).all() else float(np.nanmean(values))
        found[name] = Mean(mean, (float(low[number]), float(high[number])), of_runs)
    return found


def _against(per_user: dict[str, NDArray[np.floating]], figures: list[str]) -> Comparisons:
    return {
        name: against({row: values[:, number] for row, values in per_user.items()})
        for number, name in enumerate(figures)
        if name.partition("@")[0] in COMPARED
        and not any(np.isnan(values[:, number]).all() for values in per_user.values())
    }


def _all_unseen(cards: list[ScoreCard], rows: list[str]) -> dict[str, Numbers] | None:
    """By row the mean over the cards; None where every unseen item is a candidate anyway."""
    found = {}
    for row in rows:
        by_card = [card.measured[row].all_unseen for card in cards]
        if by_card[0]:
            found[row] = {name: float(np.mean([of[name] for of in by_card])) for name in by_card[0]}
    return found or None


def _means(table: pl.DataFrame, row: str, figures: list[str]) -> dict[str, float]:
    own = table.filter(pl.col("row") == row).select(pl.col(figures).fill_nan(None).mean())
    return {name: np.nan if mean is None else mean for name, mean in own.row(0, named=True).items()}


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
            for suffix in (wanted.suffix, ".json"):
                with whole_file(wanted.with_suffix(suffix)) as partial:
                    shutil.copyfile(made.with_suffix(suffix), partial)
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
    card_path = made.with_suffix(".json")
    if not (made.exists() and card_path.exists()):
        return False
    card = read_json(card_path)
    if card.get("finetuned_from") != model_id:
        return False
    same_texts = card["training"].get("texts_sha256") == run.texts_sha256("honest")
    return same_texts and run.taught_here(card["training"])
