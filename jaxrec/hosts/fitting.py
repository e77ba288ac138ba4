"""Fits rows by several processes, keeps their vectors, and scores by them.

A folder of vectors holds of a row `ROW-items.parquet`, of each process I `ROW-users-I.parquet` (a
name and a vector a row, as `jaxrec export` writes them), and when all are whole `ROW.json`. As many
processes as there may be later find their own users in them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from jaxrec import __version__
from jaxrec.console.session import Session
from jaxrec.data.dataset import Interactions
from jaxrec.data.features import item_features
from jaxrec.data.ids import NONE, Ids
from jaxrec.errors import InputError
from jaxrec.experiment.choices import chosen_embeddings
from jaxrec.experiment.fitting import asked_settings, row_of, settings_on
from jaxrec.experiment.kept import as_json, card_of, hash_on_card, holds
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
from jaxrec.topk.scorer import Product, product

CARD: Form = {"row": str, "losses": list, "checksum": int, "w0": float}
"""Of `ROW.json`, among what else decides a fit."""
POPULARITY = "popularity"
"""A sum over users, which needs no fit."""
FITTED = ("pmf", "pmf+text")
"""Rows that several processes can fit."""


class Fitted(NamedTuple):
    """What several processes have fitted."""

    factors: Factors
    """Of a process's own users, and of all items."""
    card: dict[str, Any]
    """All that decided it, and the losses."""
    checkpoints: Checkpoints
    """On the way; to be cleared when the factors are kept, or not needed."""


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


def possible_rows(own: Own) -> tuple[str, ...]:
    """Of those that are no fusion the ones that several processes can make of these data."""
    of_card = rows_of(own.run, (POPULARITY, *FITTED))
    return tuple(row.name for row in of_card if pointless(own.run, row) is None)


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
    everything = out is not None
    learned_from = own.train(everything), own.identity(everything)
    found = fitted(own, row, settings, session, *learned_from, folder)
    vectors = folder / "vectors" if out is None else folder
    write_vectors(own, vectors, row, found.factors, found.card)
    if own.place.speaks:
        found.checkpoints.clear()
    session.terminal.say(f"written: {vectors}")


def fitted(
    own: Own,
    row: str,
    settings: PmfSettings,
    session: Session,
    train: Interactions,
    identity: dict[str, Any],
    folder: Path,
    name: str = "together",
) -> Fitted:
    """Fit a row of `FITTED`.

    Args:
        own: a process's part.
        row: which.
        settings: of PMF.
        session: speaks.
        train: what is learned from, of own users.
        identity: of that, alike in all processes.
        folder: where checkpoints lie on the way.
        name: of these, beside the row's.
    """
    pairs = observe(train, own.dataset.feedback, settings)
    of_all = together(len(pairs.users))
    processes = own.place.processes
    session.terminal.say(f"{of_all:,} pairs of {own.users:,} users, in {processes} processes")
    features = _features(own, row)
    identity = identity | settings._asdict() | _read(own, row)
    identity = as_json(identity | {"row": row, "jaxrec": __version__})
    checkpoints = Checkpoints(folder / "checkpoints" / f"{row}-{name}", identity)
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
    session.terminal.say(f"{what}: objective {losses[-1]:.6g} after {len(losses)} sweeps")
    return Fitted(factors, identity | {"losses": losses}, checkpoints)


def settings_for(own: Own, card: dict[str, Any], train: Interactions) -> PmfSettings:
    """Those that vectors of the train part were fitted by, for a fit of other interactions.

    What they are in units of the density stays.
    """
    settings, before, now = settings_on(card), own.density(own.train()), own.density(train)
    return settings._replace(
        w0=settings.w0 * now / before, lambda_w=settings.lambda_w * before / now
    )


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
    E = None
    if name is not None:
        path = own.run.embeddings_path(name, "honest")
        if "training" in card_of(path):
            raise InputError(
                f"{path}: its encoder was fine-tuned on interactions, and no process sees whether"
                " some of them are held out here; leave its embeddings out, or take those of a"
                " model that was not"
            )
        E = own.run.read_embeddings(name, "honest").E
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
    V = _found([folder / f"{row}-items.parquet"], "item_id", own.dataset.item_ids)
    if not own.dataset.users:  # whose ids have no type
        return Factors(np.zeros((0, V.shape[1]), V.dtype), V)
    return Factors(_found(of_users, "user_id", own.dataset.user_ids), V)


def signal(own: Own, row: str, folder: Path, everything: bool = False) -> Product:
    """What a row that is no fusion scores own users by, from the vectors in a folder."""
    if row == POPULARITY:
        return popularity(own, own.train(everything))
    return product(*read_vectors(own, folder, row, everything))


def popularity(own: Own, train: Interactions) -> Product:
    """The most liked items of all processes' users, of whom these are a process's own."""
    liked = train.liked(own.dataset.feedback)
    counts = own.mesh.summed(np.bincount(liked.items, minlength=own.dataset.items))
    return product(np.ones((own.dataset.users, 1)), counts[:, None].astype(np.float32))


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
