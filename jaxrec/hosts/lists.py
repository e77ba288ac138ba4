"""Lists of all users, by several processes: a file of each, of its own users."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from jaxrec.budget import Budget
from jaxrec.console.session import Session
from jaxrec.devices import added_up
from jaxrec.errors import InputError
from jaxrec.evaluation.task import drawn_order
from jaxrec.hosts.fitting import FITTED, popularity
from jaxrec.hosts.fusing import HYBRID, best_row, scorer_of
from jaxrec.hosts.launch import Place, wait
from jaxrec.hosts.own import Own
from jaxrec.serving.additions import wishes
from jaxrec.serving.lists import as_table, write_table
from jaxrec.serving.model import Lists, Wanted, ranked_by
from jaxrec.topk.blocks import BYTES
from jaxrec.topk.item_sets import ItemSets
from jaxrec.topk.scorer import AnyScorer


def for_everybody(session: Session, place: Place, **options: Any) -> None:
    """What each of several processes does of `jaxrec recommend --all`."""
    out: Path | None = options["out"]
    if not options["everyone"] or out is None:
        raise InputError("several processes recommend to all: give --all and --out FILE")
    own, model = Own(session, place), options["model"]
    row = options["row"] or (_only_row(model) if model else best_row(own))
    folder = own.run.path / "vectors" if model is None else model
    scorer, _ = scorer_of(own, row, folder, everything=model is not None)
    ids = own.dataset.user_ids, own.dataset.item_ids
    wanted, said = wishes(*ids, options["k"], options["only"], None)
    session.terminal.say(*said)
    memory = Budget.of(options["memory"]).memory
    path = file_of(out, place.process)
    tables = _tables(own, scorer, wanted, model is not None, memory)
    write_table(path, tables, own.dataset.name)
    lists = int(added_up(own.dataset.users, own.mesh))
    wait("lists are written")
    session.terminal.say(
        f"Recommended by {row}: {lists:,} users in {file_of(out, 0)} to"
        f" {file_of(out, place.processes - 1).name}"
    )


def file_of(out: Path, process: int) -> Path:
    """The file of one process: `lists-0.parquet` of `lists.parquet`."""
    return out.with_stem(f"{out.stem}-{process}")


def _only_row(model: Path) -> str:
    """The row of a folder that `jaxrec fit` by several processes wrote.

    Raises:
        InputError: there is none, or there are several.
    """
    rows = [row for row in FITTED if (model / f"{row}.json").exists()]
    if (model / f"{HYBRID}.json").exists():
        return HYBRID  # the others are its signals
    if len(rows) != 1:
        several = f"has {' and '.join(rows)}; give --row" if rows else "is no folder of a row"
        raise InputError(f"{model} {several} that `jaxrec fit` by several processes wrote")
    return rows[0]


def _tables(
    own: Own, scorer: AnyScorer, wanted: Wanted, everything: bool, memory: int
) -> Iterator[pl.DataFrame]:
    """Lists of a process's own users; somebody of whom nothing was learned gets popular items."""
    dataset, users = own.dataset, own.dataset.users
    seen = ItemSets.of(dataset.interactions, users)
    train = own.train(everything)
    strange = np.bincount(train.users, minlength=users) == 0
    scorers = scorer, popularity(own, train)
    how = np.ones(dataset.items, bool), drawn_order(dataset, own.protocol.seed), memory
    most = max(memory // (BYTES * dataset.items), 1)
    for start in range(0, max(users, 1), most):
        some = np.arange(start, min(start + most, users), dtype=np.int32)
        each = ((~strange[some], lambda: scorers[0]), (strange[some], lambda: scorers[1]))
        found = ranked_by(each, some, wanted, None, seen, *how)
        yield as_table(dataset.catalogue, dataset.user_ids[some], Lists(*found, strange[some]))
