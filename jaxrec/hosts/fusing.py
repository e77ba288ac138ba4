"""The row `hybrid` of several processes, and what scores by any of their rows.

Its signals are fitted on what each user's validation leaves of her train part, each process draws
candidates for users of its own, and the first one learns from all of them. A folder of vectors
holds what was learned as `hybrid.json`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.console.session import Session
from jaxrec.data.dataset import Interactions
from jaxrec.errors import InputError
from jaxrec.evaluation.card import read_card
from jaxrec.evaluation.task import NOBODY_LEARNS, judges, validation_tasks
from jaxrec.experiment.choices import LEARNED, Fusion, is_fusion
from jaxrec.experiment.kept import as_json, holds
from jaxrec.files import Form, json_sha256, read_sealed, write_sealed
from jaxrec.fusion.gate import Familiarity, Learned, familiarity, fused_scorer
from jaxrec.fusion.learning import LEARNERS, Drawn, Part, draw, learn_from
from jaxrec.hosts.fitting import (
    FITTED,
    POPULARITY,
    fit,
    fitted,
    is_there,
    popularity,
    possible_rows,
    read_vectors_card,
    settings_for,
    signal,
)
from jaxrec.hosts.launch import Place, wait
from jaxrec.hosts.own import Own
from jaxrec.topk.scorer import AnyScorer, product

HYBRID = "hybrid"
FORM: Form = LEARNED | {"signals": list, "made_from": dict, "checksum": int}
"""Of `hybrid.json`: a `Learned`, the rows that are fused, by these a hash of what each was made
from, and all that decides the part that is learned from."""


def fit_on_everything(session: Session, place: Place, out: Path, row: str | None, **_: Any) -> None:
    """What each of several processes does of `jaxrec fit`: the row that was measured, anew.

    `hybrid` stays as it was learned; its signals are fitted anew.
    """
    own = Own(session, place)
    row = row or best_row(own)
    vectors, everything = own.run.path / "vectors", own.train(everything=True)
    fusion = read_fusion(own, vectors) if row == HYBRID else None
    with own.writing(out):
        for each in (row,) if fusion is None else fusion.signals:
            if each != POPULARITY:
                settings = settings_for(own, read_vectors_card(own, vectors, each), everything)
                fit(own, each, settings, session, out)
        if fusion is not None:
            _write(own, out, fusion.learned, fusion.signals, everything=True)


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
    measured = {row: of for row, of in card.measured.items() if row in (*FITTED, HYBRID)}
    if not measured:
        raise InputError(f"{own.run.results_path}: no row that can be fitted was measured")
    return max(measured, key=lambda row: measured[row].figures.metrics[f"ndcg@{k}"])


def scorer_of(
    own: Own, row: str, folder: Path, everything: bool = False
) -> tuple[AnyScorer, dict[str, Any]]:
    """What scores a process's own users by the vectors in a folder, and what it was made from.

    Raises:
        InputError: see `read_vectors_card`.
    """
    if row == HYBRID:
        fusion = read_fusion(own, folder, everything)
        signals = tuple(signal(own, each, folder, everything) for each in fusion.signals)
        known = _known(own, own.train(everything))
        return fused_scorer(fusion.learned, signals, known), _read(folder, everything)
    scorer = signal(own, row, folder, everything)
    return scorer, _made_from(own, row, folder, everything)


def learn(own: Own, session: Session, memory: int) -> str | None:
    """Learn the fusion of the vectors of the run folder, unless it is there.

    Returns:
        None; or why there is nothing to learn from.
    """
    folder, signals = own.run.path / "vectors", possible_rows(own)
    if is_learned(own):
        return None
    ((split, task),) = validation_tasks(own.dataset, own.protocol)
    train = own.dataset.interactions.at(split.train)
    identity = own.identity() | {"inside": own.checksum(train)}
    scorers, on_the_way = [], []
    for row in signals:
        if row == POPULARITY:
            scorers.append(popularity(own, train))
            continue
        settings = settings_for(own, read_vectors_card(own, folder, row), train)
        found = fitted(own, row, settings, session, train, identity, own.run.path, "inside")
        scorers.append(product(*found.factors))
        on_the_way.append(found.checkpoints)
    part = Part(tuple(scorers), _known(own, train), task)
    drawn = own.mesh.gathered(_drawn(own, part, memory))
    if own.place.speaks:
        if len(drawn.who):
            _write(own, folder, learn_from(drawn, own.protocol.seed), signals)
        for checkpoints in on_the_way:
            checkpoints.clear()
    wait("the fusion is learned")
    if not len(drawn.who):
        return NOBODY_LEARNS
    winner = read_fusion(own, folder).learned.winner
    session.terminal.say(f"hybrid: {winner}, learned from {len(drawn.who):,} users")
    return None


def _drawn(own: Own, part: Part, memory: int) -> Drawn:
    """Of own users their share of those that teach, and the number of each among all users."""
    some = int(np.count_nonzero(part.task.relevant.lengths))
    of_all = own.mesh.of_each([some, own.dataset.users])
    most = LEARNERS * some // max(int(of_all[:, 0].sum()), LEARNERS)
    users = np.zeros(0, np.int32)
    if some:
        users = judges(part.task, own.protocol.seed, min(some, max(most, 1)))
    first = of_all[: own.place.process, 1].sum()
    drawn = draw(part, users, memory)
    return drawn._replace(who=(drawn.who + first).astype(np.int32))


def is_kept(own: Own) -> bool:
    """Is there a fusion in the run folder, whatever of?"""
    return (own.run.path / "vectors" / f"{HYBRID}.json").exists()


def is_learned(own: Own) -> bool:
    """Is there a fusion of the vectors that lie in the run folder now?"""
    if not is_kept(own):
        return False
    folder = own.run.path / "vectors"
    card = _read(folder)
    there = all(row == POPULARITY or is_there(own, row) for row in card["signals"])
    return there and is_fusion(card) and _holds(own, folder, card, False)


def read_fusion(own: Own, folder: Path, everything: bool = False) -> Fusion:
    """What was learned, beside the vectors of its signals.

    Raises:
        InputError: nothing was; or it is of other data, another split or other vectors.
    """
    path = folder / f"{HYBRID}.json"
    if not path.exists():
        raise InputError(f"{path}: is not there; {_writer(everything)} writes it")
    card = _read(folder, everything)
    if not (is_fusion(card) and _holds(own, folder, card, everything)):
        raise InputError(
            f"{path}: of other data, another split or other vectors; {_remedy(everything)}"
        )
    return Fusion(Learned(**{name: card[name] for name in LEARNED}), tuple(card["signals"]), {})


def _write(
    own: Own, folder: Path, learned: Learned, signals: tuple[str, ...], everything: bool = False
) -> None:
    """Beside the vectors of its signals, by the first process."""
    of = {row: json_sha256(_made_from(own, row, folder, everything)) for row in signals}
    how = {"signals": signals, "made_from": of}
    card = learned._asdict() | own.identity(everything) | how
    if own.place.speaks:
        write_sealed(folder / f"{HYBRID}.json", card)


def _read(folder: Path, everything: bool = False) -> dict[str, Any]:
    return read_sealed(folder / f"{HYBRID}.json", _remedy(everything), FORM)


def _remedy(everything: bool) -> str:
    return f"remove it, and {_writer(everything)} writes it anew"


def _writer(everything: bool) -> str:
    return f"`jaxrec {'fit' if everything else 'run'}` by several processes"


def _holds(own: Own, folder: Path, card: dict[str, Any], everything: bool) -> bool:
    """Is it of what is learned from, and of the vectors that are there?"""
    if not holds(card, as_json(own.identity(everything))):
        return False
    of = {row: json_sha256(_made_from(own, row, folder, everything)) for row in card["signals"]}
    return card["made_from"] == of


def _made_from(own: Own, row: str, folder: Path, everything: bool) -> dict[str, Any]:
    """All that decides a row that is no fusion."""
    if row == POPULARITY:
        return own.identity(everything)
    return read_vectors_card(own, folder, row, everything)


def _known(own: Own, train: Interactions) -> Familiarity:
    """How much such a part knows of own users, and with all processes' of items."""
    users = np.bincount(train.users, minlength=own.dataset.users)
    items = np.bincount(train.items, minlength=own.dataset.items)
    return familiarity(users, own.mesh.summed(items))
