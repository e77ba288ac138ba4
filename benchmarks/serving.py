"""Serving without a refit beside a refit, and how long the first recommendation takes.

    jaxrec run --protocol cold-users --run folded --row hybrid --row pmf
    python benchmarks/serving.py fold-in --run folded
    jaxrec run --protocol cold-items --run cold --row hybrid --row pmf
    python benchmarks/serving.py new-items --run cold/seed-42-fold-0
    python benchmarks/serving.py start --model MODEL

`fold-in`: users who were not there are asked with what they give, by factors and weights that were
learned without them, and by those learned with what they give. `new-items`: items that were not in
the catalogue are placed by their features, or were there without an interaction. Both ways the
lists are compared place by place, and measured on what is held out.
"""

from dataclasses import replace
from pathlib import Path
from subprocess import PIPE, Popen
from sys import executable
from time import perf_counter

import click
import numpy as np
from harness import report
from numpy.typing import NDArray

from jaxrec.data.dataset import Catalogue
from jaxrec.data.features import FeatureSpace
from jaxrec.data.ids import NONE, Ids
from jaxrec.evaluation.measure import evaluate
from jaxrec.evaluation.split import Split
from jaxrec.evaluation.task import Task, evaluation_task, unseen_task
from jaxrec.experiment.choices import (
    evidence,
    familiarity_of,
    learn_fusion,
    settings_of,
)
from jaxrec.experiment.folder import RunFolder, open_run
from jaxrec.fusion.gate import familiarity, fused_scorer
from jaxrec.models.model import Evidence
from jaxrec.models.registry import MODELS, ask, learn
from jaxrec.topk.scorer import AnyScorer, Linear, Product

K = 25
TARGET = 2.0
"""Seconds to the first recommendation."""
run_option = click.option("--run", "path", type=click.Path(path_type=Path), required=True)


@click.group()
def main() -> None:
    """See the module."""


def agreement(one: NDArray[np.int32], other: NDArray[np.int32]) -> float:
    """Of the `K` places of a list so many hold an item of the other list, on average."""
    pairs = zip(one, other, strict=True)
    return float(np.mean([np.isin(a[a != NONE], b).sum() for a, b in pairs]))


Both = tuple[Product | Linear, Product | Linear]
"""Without a refit, and with one."""


def compare(name: str, scorers: tuple[AnyScorer, AnyScorer], task: Task) -> dict[str, float]:
    """Without a refit, and with one."""
    quick, refitted = (evaluate(scorer, task, (K,)) for scorer in scorers)
    figures = {
        "agree": agreement(quick.lists, refitted.lists),
        "precision": quick.metrics[f"precision@{K}"],
        "precision_refitted": refitted.metrics[f"precision@{K}"],
    }
    figures["ratio"] = figures["precision"] / figures["precision_refitted"]
    print(
        f"{name:>18}: {figures['agree']:.1f} of {K} places agree, P@{K}"
        f" {figures['precision']:.4f}, refitted {figures['precision_refitted']:.4f},"
        f" ratio {figures['ratio']:.3f}"
    )
    return figures


@main.command("fold-in")
@run_option
def fold_in(path: Path) -> None:
    """New users by what they give."""
    run = open_run(path)
    split, task = run.protocol.split, evaluation_task(run.dataset, run.protocol)
    joined = Split(split.known, split.test)
    new = task._replace(relevant=task.relevant.only(run.dataset.interactions.users[split.given]))
    found, signals = {}, dict[str, Both]()
    learned, signals_of_run, _ = learn_fusion(run)
    for row in ("pmf", *signals_of_run):
        settings = settings_of(run, row)
        quick, refitted = (
            ask(row, learn(row, own, settings), own.asking, settings)
            for own in (evidence(run, part, row) for part in (split, joined))
        )
        signals[row] = pair = quick, refitted
        found[row] = compare(row, pair, new)
    known = familiarity_of(run, split)
    fused = [
        fused_scorer(learned, tuple(signals[row][way] for row in signals_of_run), known)
        for way in (0, 1)
    ]
    found["hybrid"] = compare("hybrid", (fused[0], fused[1]), new)
    of = found["hybrid"]
    report("fold-in", of["precision"], of["precision_refitted"], "refit", "P@25 of hybrid")


@main.command("new-items")
@run_option
def new_items(path: Path) -> None:
    """New items by their texts, years and genres."""
    run = open_run(path)
    own = evidence(run, run.protocol.split)
    cold = np.zeros(run.dataset.items, bool)
    cold[run.dataset.interactions.items[run.protocol.split.test]] = True
    small, order = without(own, cold), np.concatenate([np.flatnonzero(~cold), np.flatnonzero(cold)])
    place_of = np.argsort(order)  # of an item of the whole catalogue among the placed ones
    new = table_of(run, cold)
    counts = np.bincount(own.train.items, minlength=run.dataset.items)
    found, signals = {}, dict[str, Both]()
    learned, signals_of_run, _ = learn_fusion(run)
    for row in signals_of_run:
        settings, place = settings_of(run, row), MODELS[row].place
        assert place is not None
        assert own.E is not None
        space = FeatureSpace.of(small.dataset.catalogue)
        features = space.features(new, own.E[cold], settings["metadata"])
        placed = place(learn(row, small, settings), features, settings)
        placed = {
            name: array[place_of] if len(array) == len(order) and name != "U" else array
            for name, array in placed.items()
        }
        if "weights" in placed:
            raise click.UsageError("not fewer users than items: not made for this comparison")
        refitted, asking = learn(row, own, settings), own.asking
        signals[row] = ask(row, placed, asking, settings), ask(row, refitted, asking, settings)
        print("among cold items:")
        found[row] = compare(row, signals[row], evaluation_task(run.dataset, run.protocol))
    users = np.bincount(own.train.users, minlength=run.dataset.users)
    known = familiarity(users, counts)
    fused = [
        fused_scorer(learned, tuple(signals[row][way] for row in signals_of_run), known)
        for way in (0, 1)
    ]
    for name, task in (
        ("hybrid", evaluation_task(run.dataset, run.protocol)),
        ("hybrid, all unseen", unseen_task(run.dataset, run.protocol)),
    ):
        found[name] = compare(name, (fused[0], fused[1]), task)
    of = found["hybrid, all unseen"]
    report("new-items", of["precision"], of["precision_refitted"], "refit", "P@25 of hybrid")


def without(own: Evidence, gone: NDArray[np.bool_]) -> Evidence:
    """Evidence of a catalogue in which these items never were."""
    data, place = own.dataset, np.cumsum(~gone) - 1
    kept = own.split.train[~gone[data.interactions.items[own.split.train]]]
    columns = data.interactions.at(kept)
    catalogue = replace(
        data.catalogue,
        ids=Ids(data.item_ids.names[~gone], "item"),
        table=data.catalogue.table.filter(~gone),
    )
    interactions = columns._replace(items=place[columns.items].astype(np.int32))
    everything = Split(np.arange(len(kept)), np.zeros(0, np.int64))
    smaller = replace(data, catalogue=catalogue, interactions=interactions)
    E = None if own.E is None else own.E[~gone]
    return Evidence(smaller, everything, E, own.seed, {})


def table_of(run: RunFolder, chosen: NDArray[np.bool_]) -> Catalogue:
    """The catalogue of some items."""
    catalogue = run.dataset.catalogue
    ids = Ids(catalogue.ids.names[chosen], "item")
    return replace(catalogue, ids=ids, table=catalogue.table.filter(chosen))


@main.command()
@click.option("--model", type=click.Path(path_type=Path), required=True)
@click.option("--user", default="1")
@click.option("--times", default=7)
def start(model: Path, user: str, times: int) -> None:
    """From the start of the process to its first recommendation."""
    command = [executable, "-m", "jaxrec.cli", "recommend", "--model", str(model), "--user", user]
    took = []
    for _ in range(times + 1):
        begun = perf_counter()
        with Popen(command, stdout=PIPE, text=True) as process:
            assert process.stdout is not None
            next(line for line in process.stdout if line.startswith("   1  "))
            took.append(perf_counter() - begun)
            process.stdout.read()
    first, rest = took[0], sorted(took[1:])
    size = sum(file.stat().st_size for file in model.rglob("*") if file.is_file())
    print(f"{size / 2**20:.0f} MiB; the first time, with compilation, {first:.2f} s, then")
    print(f"{np.median(rest):.2f} s in the middle of {times} ({rest[0]:.2f} to {rest[-1]:.2f})")
    report("start", float(np.median(rest)), TARGET, "target", "s")


if __name__ == "__main__":
    main()
