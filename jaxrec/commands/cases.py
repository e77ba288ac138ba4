"""What a report shows of a run folder beside its card: trainings, users, the commands again."""

from __future__ import annotations

import shlex
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from jaxrec.errors import excused
from jaxrec.evaluation.task import evaluation_task
from jaxrec.experiment.folder import RunFolder
from jaxrec.experiment.kept import card_of
from jaxrec.experiment.rows import rows_of
from jaxrec.explanation.words import in_short
from jaxrec.report.chapters import Case, Evidence, Listed, Training
from jaxrec.serving.evaluated import of_run
from jaxrec.serving.fit import model_of_train, servable
from jaxrec.serving.lists import latest
from jaxrec.serving.model import Wanted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jaxrec.evaluation.card import ScoreCard
    from jaxrec.serving.model import FittedModel

LONG = 10
"""Items on a list that is shown."""
EXPLAINED = 3
"""Of them how many are explained."""
OF_THREE = (1 / 6, 1 / 2, 5 / 6)
"""Where users stand among those evaluated, by what is known of them: the middle of each third."""


def evidence(run: RunFolder, card: ScoreCard, say: Callable[[str], None]) -> Evidence:
    """All that a report has of a run folder; `say` is told which users' lists cannot be had."""
    cases: list[Case] = []
    with excused(lambda why: say(f"Going on without users' lists: {why}")):
        cases = _cases(run, card)
    return Evidence(
        str(run.path), run.data_options, card, trainings(run), cases, commands(run, card)
    )


def commands(run: RunFolder, card: ScoreCard) -> list[str]:
    """What makes the run folder and its card again."""
    others = [run.embed_command(name) for name in run.embedding_names() if name != "minilm"]
    again = [run.command("eval", *_cutoffs(card))] if others else []
    return [_made(run.path, run, card), *others, *again, run.command("report")]


def commands_of_study(path: Path, runs: list[RunFolder], card: ScoreCard) -> list[str]:
    """What makes a study again, of which these are the run folders."""
    seeds = len({run.protocol.seed for run in runs})
    rules = runs[0].protocol.rules
    grid = ["--seeds", str(seeds)] if rules.seeded and (seeds > 1 or rules.folds == 1) else []
    if inits := max(run.init for run in runs):
        grid += ["--inits", str(inits + 1)]
    report = shlex.join(["jaxrec", "report", "--run", str(path)])
    return [_made(path, runs[0], card, *grid), report]


def _made(path: Path, run: RunFolder, card: ScoreCard, *grid: str) -> str:
    protocol = run.protocol
    made = ["jaxrec", "run", "--run", str(path), *run.data_options]
    made += ["--protocol", protocol.name]
    made += ["--seed", str(protocol.seed)] if protocol.rules.seeded else []
    return shlex.join([*made, *grid, *_cutoffs(card), *_rows(run, card)])


def _rows(run: RunFolder, card: ScoreCard) -> list[str]:
    """The rows, where not all were asked for; and that none was searched, where that is so."""
    asked = [row.name for row in card.rows]
    by_default = {row.name for row in rows_of(run)} == set(asked)
    rows = [] if by_default else [part for row in asked for part in ("--row", row)]
    searched = any(run.tuned_path("ROW").parent.glob("*.json"))  # a row, or what `hybrid` fuses
    return rows if searched else [*rows, "--trials", "0"]


def _cutoffs(card: ScoreCard) -> list[str]:
    return [part for k in card.ks for part in ("-k", str(k))]


def trainings(run: RunFolder) -> list[Training]:
    """What was trained, and how it went."""
    found = []
    for row in run.factors_rows():
        losses = card_of(run.factors_path(row)).get("losses", [])
        series = {"objective": [float(loss) for loss in losses]}
        found.append(Training(f"training-{row}", f"Factors of {row}", "sweep", series))
    for name in run.embedding_names():
        history = card_of(run.embeddings_path(name)).get("history", [])
        series = {
            figure: [float(epoch.get(figure, nan)) for epoch in history]
            for figure in ("loss", "validation")
            if any(figure in epoch for epoch in history)
        }
        if series:
            found.append(Training(f"training-{name}", f"Fine-tuning of {name}", "epoch", series))
    return found


def _cases(run: RunFolder, card: ScoreCard) -> list[Case]:
    """Three users: in the middle of those with few interactions, with some and with many."""
    task, dataset = evaluation_task(run.dataset, run.protocol), run.dataset
    known, relevant = task.seen.lengths, task.relevant.lengths
    judged = np.flatnonzero((known > 0) & (relevant > 0))
    if not len(judged):
        return []
    order = judged[np.argsort(known[judged], kind="stable")]
    places = dict.fromkeys(int(share * len(order)) for share in OF_THREE)
    users = order[list(places)].astype(np.int32)
    wanted = Wanted.best(LONG, dataset.items)
    lists = {row: of_run(run, users, wanted, row, as_evaluated=True)[0] for row in _shown(card)}
    model: FittedModel | None = None
    if "hybrid" in lists:
        with excused(lambda why: None):  # a row that explains nothing costs no list
            model = model_of_train(run, servable(run, "hybrid"))
    own = dataset.interactions.at(run.protocol.split.known)
    liked = dataset.interactions.at(run.protocol.split.test).liked(dataset.feedback)
    catalogue = dataset.catalogue

    def case(place: int, user: int) -> Case:
        told = latest(catalogue, dataset.feedback, own.at(np.flatnonzero(own.users == user)))
        hits = set(liked.items[liked.users == user].tolist())
        items = {row: [i for i in of.items[place].tolist() if i >= 0] for row, of in lists.items()}
        return Case(
            user=str(dataset.user_ids[user]),
            known=int(known[user]),
            relevant=int(relevant[user]),
            latest=[" ".join(line.split()) for line in told],
            lists={
                row: [Listed(catalogue.called(item), item in hits) for item in of]
                for row, of in items.items()
            },
            why=[] if model is None else _why(model, user, items["hybrid"][:EXPLAINED]),
        )

    return [case(place, user) for place, user in enumerate(users.tolist())]


def _shown(card: ScoreCard) -> list[str]:
    """Rows whose lists are laid side by side: the reference, text, hybrid or else the best."""
    measured = card.measured
    k = max(card.ks)
    best = max(measured, key=lambda name: measured[name].figures.metrics[f"ndcg@{k}"])
    last = "hybrid" if "hybrid" in measured else best
    return [row for row in dict.fromkeys((card.reference, "text", last)) if row in measured]


def _why(model: FittedModel, user: int, items: list[int]) -> list[str]:
    """What speaks for items of a user's list, a line each."""
    explained = model.explain(model.asking(np.array([user], np.int32)), np.array(items))
    return [
        f"Why {model.catalogue.called(of.item)} (hybrid, rank {of.rank}):"
        f" {in_short(model.catalogue, of)}."
        for of in explained
    ]
