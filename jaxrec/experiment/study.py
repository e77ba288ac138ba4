"""Several run folders of one data set and protocol, as one result."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.table import Table

from jaxrec.errors import InputError
from jaxrec.evaluation.card import against, figure, without_nan
from jaxrec.evaluation.significance import bootstrap_means, interval
from jaxrec.files import read_json

COMPARED = ("precision", "recall", "ndcg", "tail_recall")


def summarise(paths: list[Path]) -> dict[str, Any]:
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
    cards = [read_json(path / "results.json") for path in paths]
    for key, what in (("protocol", "protocols"), ("data_sha256", "data")):
        if len({card["protocol"].get(key) for card in cards}) > 1:
            raise InputError(f"run folders of different {what} cannot be summarised")
    folds = cards[0]["protocol"]["protocol"] == "cold-items"
    tables = [pl.read_parquet(path / "per_user.parquet") for path in paths]
    common = set.intersection(*(set(table["row"].unique()) for table in tables))
    everything = pl.concat([table.filter(pl.col("row").is_in(common)) for table in tables])
    figures = [name for name in everything.columns if name not in ("row", "user_id")]
    rows = list(dict.fromkeys(row["name"] for row in cards[0]["rows"] if row["name"] in common))
    averaged = (
        everything.with_columns(pl.col(figures).fill_nan(None))
        .group_by("row", "user_id")
        .agg(pl.col(figures).mean())
        .sort("user_id")
    )
    per_user = {
        row: averaged.filter(pl.col("row") == row).select(figures).to_numpy() for row in rows
    }
    result: dict[str, Any] = {
        "protocol": cards[0]["protocol"]["protocol"],
        "data": cards[0]["protocol"]["data"],
        "synthetic": cards[0]["protocol"]["synthetic"],
        "runs": [path.name for path in paths],
        "users": len(per_user[rows[0]]),
        "rows": {},
    }
    for row in rows:
        low, high = interval(bootstrap_means(per_user[row]))
        means = [_means(table, row, figures) for table in tables]
        result["rows"][row] = {
            name: {
                "mean": float(np.mean([mean[name] for mean in means]))
                if folds
                else float(np.nanmean(per_user[row][:, number]))
                if not np.isnan(per_user[row][:, number]).all()
                else np.nan,
                "ci95": [float(low[number]), float(high[number])],
                "by_run": [mean[name] for mean in means],
            }
            for number, name in enumerate(figures)
        }
    if "hybrid" in rows and len(rows) > 1:
        result["against"] = {
            name: against({row: per_user[row][:, number] for row in rows})
            for number, name in enumerate(figures)
            if name.partition("@")[0] in COMPARED
            and not any(np.isnan(per_user[row][:, number]).all() for row in rows)
        }
    unseen = {
        row["name"]: [
            next(other["all_unseen"] for other in card["rows"] if other["name"] == row["name"])
            for card in cards
        ]
        for row in cards[0]["rows"]
        if row["name"] in common and "all_unseen" in row
    }
    if unseen:
        result["all_unseen"] = {
            row: {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}
            for row, runs in unseen.items()
        }
    return without_nan(result)


def table(summary: dict[str, Any], k: int) -> Table:
    """A summary at one cut-off, for the terminal."""
    data = f"{summary['data']}{' (SYNTHETIC DATA)' if summary['synthetic'] else ''}"
    shown = Table(
        title=f"{data}, protocol {summary['protocol']}, {len(summary['runs'])} runs", padding=(0, 0)
    )
    shown.add_column("row", no_wrap=True)
    for heading in (f"P@{k}", "±", f"R@{k}", f"NDCG@{k}", "tail R", "hybrid +P", "p"):
        shown.add_column(heading, justify="right", no_wrap=True)
    compared = summary.get("against", {}).get(f"precision@{k}", {})
    for row, figures in summary["rows"].items():
        low, high = figures[f"precision@{k}"]["ci95"]
        lead = compared.get(row)
        shown.add_row(
            row,
            figure(figures[f"precision@{k}"]["mean"]),
            f"{(high - low) / 2:.3f}",
            *(figure(figures[f"{name}@{k}"]["mean"]) for name in ("recall", "ndcg", "tail_recall")),
            "" if lead is None else f"{lead['relative']:+.1%}",
            "" if lead is None else f"{lead['p_holm']:.4f}",
        )
    return shown


def _means(table: pl.DataFrame, row: str, figures: list[str]) -> dict[str, float]:
    own = table.filter(pl.col("row") == row).select(pl.col(figures).fill_nan(None).mean())
    return {name: np.nan if mean is None else mean for name, mean in own.row(0, named=True).items()}
