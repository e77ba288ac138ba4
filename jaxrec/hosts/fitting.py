"""Fits rows by several processes, and keeps their vectors.

A folder of vectors holds of a row `ROW-items.parquet`, of each process I `ROW-users-I.parquet` (a
name and a vector a row, as `jaxrec export` writes them), and when all are whole `ROW.json`. As many
processes as there may be later find their own users in them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from jaxrec import __version__
from jaxrec.console.session import Session
from jaxrec.data.features import item_features
from jaxrec.data.ids import NONE, Ids
from jaxrec.errors import InputError
from jaxrec.evaluation.card import read_card
from jaxrec.experiment.choices import chosen_embeddings
from jaxrec.experiment.fitting import asked_settings, row_of, settings_on
from jaxrec.experiment.kept import as_json, hash_on_card, holds
from jaxrec.experiment.rows import pmf_settings_of, pointless, rows_of, settings_of
from jaxrec.files import Form, file_sha256, read_sealed, whole_file, write_sealed
from jaxrec.hosts.launch import Place, together, wait
from jaxrec.hosts.own import Own
from jaxrec.models.registry import MODELS
from jaxrec.pmf.fit import fit_pmf
from jaxrec.pmf.objective import Factors, PmfSettings, observe
from jaxrec.pmf.sweeps import Checkpoints
from jaxrec.serving.export import vector_table
from jaxrec.sources.tables import UNREADABLE

CARD: Form = {"row": str, "losses": list, "checksum": int, "w0": float}
"""Of `ROW.json`, among what else decides a fit."""
FITTED = ("pmf", "pmf+text")
"""Rows that several processes can fit."""


def train_pmf(session: Session, place: Place, likelihood: str | None, **options: Any) -> None:
    """What each of several processes does of `jaxrec train-pmf`."""
    own = Own(session, place)
    settings = asked_settings(own.run, likelihood, options, own.density(own.train()))
    if row_of(settings) != "pmf":
        raise InputError("the sequential solver is for one process; leave --solver out")
    with own.writing(own.run.path):
        fit(own, "pmf", settings, session)


def fit_missing(own: Own, rows: tuple[str, ...], session: Session) -> None:
    """Fit those rows whose vectors are not there, by their default settings."""
    for row in rows:
        if row in FITTED and not is_there(own, row):
            settings = pmf_settings_of(own.run, row, own.density(own.train()))
            fit(own, row, settings, session)


def fit_on_everything(session: Session, place: Place, out: Path, row: str | None, **_: Any) -> None:
    """What each of several processes does of `jaxrec fit`: the row that was measured, anew."""
    own = Own(session, place)
    row = row or best_row(own)
    card = read_vectors_card(own, own.run.path / "vectors", row)
    before, now = own.density(own.train()), own.density(own.train(True))
    settings = settings_on(card)  # what they are in units of the density stays
    settings = settings._replace(
        w0=settings.w0 * now / before, lambda_w=settings.lambda_w * before / now
    )
    with own.writing(out):
        fit(own, row, settings, session, out)


def best_row(own: Own) -> str:
    """Of the rows that were fitted the one of the best NDCG on the score card.

    Raises:
        InputError: there is no score card, or it has none of them.
    """
    if not own.run.results_path.exists():
        raise InputError(
            f"{own.run.results_path}: is not there; `jaxrec run` by several processes writes it"
        )
    card = read_card(own.run.results_path)
    k = max(card.ks)
    measured = {row: of for row, of in card.measured.items() if row in FITTED}
    if not measured:
        raise InputError(f"{own.run.results_path}: no row that can be fitted was measured")
    return max(measured, key=lambda row: measured[row].figures.metrics[f"ndcg@{k}"])


def fit(
    own: Own, row: str, settings: PmfSettings, session: Session, out: Path | None = None
) -> None:
    """Fit a row of `FITTED` and write its vectors.

    Args:
        own: a process's part.
        row: which.
        settings: of PMF.
        session: speaks.
        out: where the vectors of a fit of everything go; without it, those of a fit of the train
            part go into the run folder.
    """
    folder = own.run.path if out is None else out
    train = own.train(everything=out is not None)
    pairs = observe(train, own.dataset.feedback, settings)
    of_all = together(len(pairs.users))
    processes = own.place.processes
    session.terminal.say(f"{of_all:,} pairs of {own.users:,} users, in {processes} processes")
    features = _features(own, row)
    identity = own.identity(out is not None) | settings._asdict() | _read(own, row)
    identity = as_json(identity | {"row": row, "jaxrec": __version__})
    checkpoints = Checkpoints(folder / "checkpoints" / f"{row}-together", identity)
    what = f"{row}: {settings.likelihood} PMF, {settings.factors} factors"
    with session.terminal.sweeps(what, settings.sweeps) as on_sweep:
        factors, losses = fit_pmf(
            pairs,
            own.dataset.users,
            own.dataset.items,
            settings,
            seed=own.run.fit_seed,
            item_features=features,
            checkpoints=checkpoints,
            on_sweep=on_sweep,
            placement=own.mesh,
        )
    vectors = folder / "vectors" if out is None else folder
    write_vectors(own, vectors, row, factors, identity | {"losses": losses})
    if own.place.speaks:
        checkpoints.clear()
    session.terminal.say(f"{what}: objective {losses[-1]:.6g} after {len(losses)} sweeps")
    session.terminal.say(f"written: {vectors}")


def _read(own: Own, row: str) -> dict[str, Any]:
    """Which embeddings a row reads, and how much else of the items weighs beside them."""
    if not MODELS[row].text:
        return {}
    name = chosen_embeddings(own.run)
    sha256 = None if name is None else hash_on_card(own.run.embeddings_path(name, "honest"))
    metadata = settings_of(own.run, row)["metadata"]
    return {"embeddings": name, "embeddings_sha256": sha256, "metadata": metadata}


def _features(own: Own, row: str) -> NDArray[np.float32] | None:
    """[items, features] that a row reads.

    Raises:
        InputError: it reads texts, and there is nothing to read.
    """
    if not MODELS[row].text:
        return None
    (of_card,) = rows_of(own.run, (row,))
    if (why := pointless(own.run, of_card)) is not None:
        raise InputError(f"row {row}: {why}")
    name = chosen_embeddings(own.run)
    E = None if name is None else own.run.read_embeddings(name, "honest").E
    return item_features(own.dataset.catalogue, E, settings_of(own.run, row)["metadata"])


def write_vectors(own: Own, folder: Path, row: str, factors: Factors, card: dict[str, Any]) -> None:
    """Write a row's vectors: each process its own users', the first one the items'."""
    if own.place.speaks:
        for older in (folder / f"{row}.json", *folder.glob(f"{row}-users-*.parquet")):
            older.unlink(missing_ok=True)
    wait("older files are gone")
    with whole_file(folder / f"{row}-users-{own.place.process}.parquet") as partial:
        vector_table("user_id", own.dataset.user_ids, factors.U).write_parquet(partial)
    if own.place.speaks:
        with whole_file(folder / f"{row}-items.parquet") as partial:
            vector_table("item_id", own.dataset.item_ids, factors.V).write_parquet(partial)
    wait("vectors are written")
    if own.place.speaks:
        written = sorted(folder.glob(f"{row}-*.parquet"))
        files = {path.name: file_sha256(path) for path in written}
        write_sealed(folder / f"{row}.json", card | {"files": files})
    wait("the card is written")


def is_there(own: Own, row: str) -> bool:
    """Are there vectors of a row that were fitted on this train part, reading the same texts?"""
    path = own.run.path / "vectors" / f"{row}.json"
    if not path.exists():
        return False
    card = read_sealed(path, "remove it, and the row is fitted again", CARD)
    return holds(card, own.identity() | _read(own, row))


def read_vectors_card(own: Own, folder: Path, row: str, everything: bool = False) -> dict[str, Any]:
    """The card of a row's vectors.

    Raises:
        InputError: there are none, or they are of other data or another split.
    """
    path, again = folder / f"{row}.json", "`jaxrec fit`" if everything else "`jaxrec run`"
    if not path.exists():
        raise InputError(f"{path}: is not there; {again} by several processes writes it")
    card = read_sealed(path, f"remove it, and {again} by several processes writes it anew", CARD)
    if not holds(card, own.identity(everything)):
        raise InputError(f"{path}: of other data or another split; run {again} again")
    return card


def read_vectors(own: Own, folder: Path, row: str, everything: bool = False) -> Factors:
    """Vectors of the process's own users, whoever has written them, and of all items.

    Raises:
        InputError: see `read_vectors_card`; or a vector is missing.
    """
    card = read_vectors_card(own, folder, row, everything)
    of_users = sorted(folder.glob(f"{row}-users-*.parquet"))
    if own.place.speaks:  # for all: the others are told by its end
        for name, sha256 in card.get("files", {}).items():
            if not (folder / name).exists() or file_sha256(folder / name) != sha256:
                raise InputError(f"{folder / name}: not as it was written; fit the row again")
    U = _found(of_users, "user_id", own.dataset.user_ids)
    V = _found([folder / f"{row}-items.parquet"], "item_id", own.dataset.item_ids)
    return Factors(U, V)


def _found(paths: list[Path], name: str, ids: Ids) -> NDArray[np.floating]:
    """[names, dim] the vectors of these names."""
    own = pl.Series(name, ids.names)
    tables = []
    for path in paths:
        try:
            scan = pl.scan_parquet(path, glob=False)
            if scan.select(pl.len()).collect().item():  # of nobody, ids have no type
                tables.append(scan.filter(pl.col(name).is_in(own.implode())).collect())
        except UNREADABLE as error:
            why = str(error).splitlines()[0]
            raise InputError(f"{path}: damaged ({why}); fit the row again") from None
    table = pl.concat(tables)
    places = ids.find(table[name].to_list())
    if len(table) != len(ids) or (places == NONE).any():
        raise InputError(
            f"{paths[0].parent}: {len(table):,} vectors of {len(ids):,} {ids.what}s of this"
            " process; fit the row again"
        )
    vectors = table["vector"].to_numpy()
    found = np.empty_like(vectors)
    found[places] = vectors
    return found
