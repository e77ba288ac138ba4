"""The `jaxrec` command: parses, calls, prints; the one place that knows both packages.

Heavy packages are imported inside the commands, so that `jaxrec --help` answers at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from jaxrec.commands import learning, machine, measuring, reporting, serving, web
from jaxrec.commands.learning import train, tune_rows
from jaxrec.commands.measuring import measure, tracked
from jaxrec.commands.opening import budget_of, hold, open_existing, open_run_of
from jaxrec.console import options as ask
from jaxrec.console.session import (
    Session,
    on_run_folder,
    resumable,
    speaking,
    stop,
    strict_option,
)
from jaxrec.errors import InputError, excuse, excused
from jaxrec.hosts.joining import shared_by
from jaxrec.interruption import told_to_end
from jaxrec.locks import of_model, of_run
from jaxrec.tracking import check_tracker

if TYPE_CHECKING:
    from jaxrec.budget import Budget
    from jaxrec.console.terminal import Terminal
    from jaxrec.data.dataset import Dataset
    from jaxrec.evaluation.card import ScoreCard
    from jaxrec.experiment.folder import RunFolder
    from jaxrec.experiment.rows import Row
    from torch_embed.training.recipe import Recipe


def _mistakes() -> tuple[type[Exception], ...]:
    import jaxrec.errors
    import torch_embed.errors

    return jaxrec.errors.InputError, torch_embed.errors.InputError


class Commands(click.Group):
    """Commands that end by 130 or 143 when they are told to."""

    def main(self, *arguments: Any, **more: Any) -> Any:
        """Parse and call; see `click.Group`."""
        with told_to_end():
            return super().main(*arguments, **more)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="jaxrec")
def main() -> None:
    """Interactions and item texts in, a hybrid recommender with an honest score card out."""


for command in (
    learning.tune,
    learning.train_pmf,
    measuring.evaluate,
    reporting.report,
    serving.recommend,
    serving.similar,
    serving.explain,
    serving.export,
    machine.doctor,
    machine.completion,
    web.serve,
):
    main.add_command(command)


@main.group()
def data() -> None:
    """Look at data before they are used, and cut them for many processes."""


@data.command()
@ask.inspect_options
@ask.model_option
@strict_option
@ask.json_option("what was understood")
@speaking(_mistakes)
def inspect(
    terminal: Terminal,
    path: Path,
    out: Path,
    force: bool,
    model: str,
    strict: bool,
    json_path: Path | None,
    **known: Any,
) -> None:
    """Say what a file, folder or name is understood to hold, and write it down to be edited.

    The description is given to --data; its comments say what each line means.
    """
    from jaxrec.evaluation.task import held_out
    from jaxrec.files import is_stream, real, write_json
    from jaxrec.sources import inspection
    from jaxrec.sources.description import write_description
    from jaxrec.sources.guess import describe
    from jaxrec.sources.library import find
    from jaxrec.sources.reading import read_dataset

    place = find(str(path))
    described = describe(place, **known)
    with terminal.reading() as on_bytes:
        dataset = read_dataset(described, str(real(place)), strict, on_bytes)
    found = inspection.inspect(dataset, described)
    found |= {"protocols": held_out(dataset), "run": _cost_of_run(dataset)}
    try:
        from torch_embed.encoding.layout import token_lengths, token_limit

        lengths = token_lengths(model, inspection.plain_texts(dataset))
        found["texts"]["tokens"] = inspection.tokens(model, lengths, token_limit(model))
    except ModuleNotFoundError:
        terminal.say("texts are not counted in tokens: pip install 'jaxrec[embed]'")
    lines = inspection.in_words(found)
    for line in lines:
        terminal.result(line)
    if json_path is not None:
        write_json(json_path, found)
    streams = is_stream(out)
    if out.exists() and not (force or streams):
        terminal.say(f"{out} is there, and kept (--force)")
        return
    write_description(out, inspection.as_found(dataset, described), lines)
    if not streams:
        then = f"jaxrec run --data {quote(str(out))}"
        terminal.say(f"written: {out}; edit it if something is wrong, then `{then}`")


@data.command()
@ask.shard_options
@speaking()
def shard(terminal: Terminal, data: str, out: Path, parts: int) -> None:
    """Cut data by user into parts, for several processes that read their own each.

    However large the data, memory is that of a batch of rows and of the items. A folder that Spark
    or anybody else has laid out so is read as well: see docs/hosts.md.
    """
    from jaxrec.sources.guess import describe
    from jaxrec.sources.library import find
    from jaxrec.sources.sharded.writing import write_shard

    with terminal.reading() as on_bytes:
        made, lines = write_shard(describe(find(data)), out, parts, on_bytes)
    for line in lines:
        terminal.say(f"mended: {line}")
    rows = made.interactions
    terminal.say(
        f"written: {out}, {sum(rows):,} interactions of {sum(made.users):,} users in {parts} parts"
        f" of {min(rows):,} to {max(rows):,}"
    )


PROCESS_BYTES, INTERACTION_BYTES = 1.2e9, 60
"""What a process with JAX and an encoder takes, and each interaction beside a row's own arrays."""
TEXT_SECONDS = 1.5e-3
"""Of MiniLM on two cores."""
MINILM = 384


def _cost_of_run(dataset: Dataset) -> dict[str, float]:
    """What `jaxrec run` takes with its defaults."""
    from jaxrec.data.features import item_features
    from jaxrec.experiment.tuning import seconds_of_trial, shared_out
    from jaxrec.models.cost import Size
    from jaxrec.models.registry import MODELS, cost_of_all, costs

    features = MINILM + item_features(dataset.catalogue).shape[1]
    size = Size.of(dataset.interactions, dataset.users, dataset.items, features)
    each = costs(size, dataset.feedback.has_grades, budget_of(None).memory)
    searched = {row: cost for row, cost in each.items() if MODELS[row].space}
    trials = shared_out(searched, list(searched), size)
    search = sum(trials[row] * seconds_of_trial(each[row], size) for row in trials)
    cost = cost_of_all(each)
    memory = PROCESS_BYTES + INTERACTION_BYTES * size.interactions + cost.memory
    seconds = TEXT_SECONDS * size.items + search + cost.seconds
    return {"gigabytes": round(memory / 1e9, 1), "minutes": round(seconds / 60, 1)}


@main.command()
@on_run_folder(_mistakes)
@ask.model_option
@ask.fast_option
@ask.cutoffs
@ask.rows_option
@ask.grid_options
@ask.budget_options
@ask.track_option
@ask.json_option("the score card or the summary")
@shared_by("measuring.run", "-k", "--row", "--memory", "--json")
def run(
    session: Session,
    seeds: int | None,
    inits: int,
    memory: int | None,
    minutes: float | None,
    track: str | None,
    json_path: Path | None,
    **what: Any,
) -> None:
    """Do everything: train, embed, evaluate; what is there already is kept.

    With --seeds or --inits, and always under cold-items (five folds), DIR holds a run folder for
    each split and `summary.json`.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise click.UsageError("several processes share `jaxrec embed`; start `run` as one")
    from jaxrec.evaluation.card import write_card
    from jaxrec.experiment.study import grid, summarise
    from jaxrec.files import write_sealed
    from jaxrec.report.summary import tables
    from jaxrec.report.verdict import Standing, three_lines

    check_tracker(track)
    budget = budget_of(memory, minutes)
    cells = grid(session.path, session.protocol, session.seed, seeds, inits)
    hold(of_run(session.path), session.path)  # of several run folders the summary, too
    for cell in cells:
        where = {"seed": cell.seed, "fold": cell.fold, "init": cell.init}
        opened = open_run_of(session, cell.path, budget, **where)
        if opened.dataset.synthetic:
            session = replace(session, data=opened.dataset.name)  # for all cells, or for none
        with resumable():
            card = _do_everything(opened, session.terminal, cell.like, len(cells) == 1, **what)
        tracked(opened, card, track, session.terminal)
    if cells[0].path == session.path:
        if json_path is not None:
            write_card(json_path, card)
        return
    summary = summarise([cell.path for cell in cells])
    for place in filter(None, (session.path / "summary.json", json_path)):
        write_sealed(place, summary.to_json())
    for k in what["ks"]:
        session.terminal.result(*tables(summary, k))
    standing = Standing.of_study(summary, max(what["ks"]))
    session.terminal.result(*three_lines(standing, str(session.path), opened.data_options))


def _do_everything(
    opened: RunFolder,
    terminal: Terminal,
    like: tuple[Path, ...],
    alone: bool,
    *,
    model: str,
    ks: tuple[int, ...],
    only: tuple[str, ...],
    trials: int | None,
    finetune: bool,
    fast: bool,
) -> ScoreCard:
    """Train, embed and evaluate what is not there yet, as far as the budget's time allows."""
    from jaxrec.experiment.fitting import missing_factors
    from jaxrec.experiment.rows import check_names, cost_of, factors_cost, rows_of
    from jaxrec.experiment.scoring import PUBLISHED_FUSION
    from jaxrec.experiment.tuning import rows_to_tune, short_search
    from torch_embed.names import check_model

    if not opened.protocol.rules.as_published:
        check_names(opened, only)  # what is no row is refused before anything is made
    if not _embedded_already(opened, model):
        check_model(model)  # what cannot be reached is done without, but a mistake is refused
    with excused(partial(_without, opened, terminal), _mistakes()):
        loading = {"dtype": "fast"} if fast else {}
        _embed(opened, model, terminal, again=False, like=like, loading=loading)
        if finetune:
            with excused(partial(terminal.lost, "fine-tuning"), _mistakes()):
                _finetune_once(opened, model, like, terminal)
    to_tune = rows_to_tune(opened, only)
    kept = sum(cost_of(opened, row.name).seconds for row in rows_of(opened, only))
    in_time = replace(opened, budget=opened.budget.less(kept))  # for the score card
    if trials is None:
        tune_rows(in_time, short_search(in_time, to_tune), terminal)
    elif trials:
        tune_rows(in_time, dict.fromkeys(to_tune, trials), terminal)
    for row in sorted({row.factors for row in rows_of(opened, only) if row.factors is not None}):
        with excused(partial(terminal.lost, f"factors of {row}")):
            missing = missing_factors(opened, {row}, tuned=bool(trials))
            if row not in missing:
                terminal.say(f"{row}: factors are there already")
            else:
                cost = factors_cost(opened, missing[row])
                opened.budget.check(cost)
                terminal.say(f"{row}: its factors take {cost}")
                train(opened, missing[row], terminal)
    return measure(opened, terminal, ks, PUBLISHED_FUSION, alone, only=only)


@main.command()
@on_run_folder(_mistakes)
@ask.model_option
@ask.loading_options
@ask.finetune_options
def embed(session: Session, model: str, finetune: bool, fast: bool, **options: Any) -> None:
    """Encode the item texts with a language model, or fine-tune one first.

    A fine-tuning that was interrupted goes on with the same command. Under `accelerate launch`
    several GPUs share its batches.
    """
    loading = {name: options.pop(name) for name in ask.LOADING}
    if fast:
        if finetune or loading["dtype"] is not None:
            raise click.UsageError("--fast says what to encode in: neither --dtype nor --finetune")
        loading["dtype"] = "fast"
    if finetune:
        _finetune(session, model, loading, options)
        return
    ask.refuse_without_finetune(options)
    with _first_ahead(session.terminal):
        opened = open_run_of(session)
    _embed(opened, model, session.terminal, again=True, loading=loading)


def _embed(
    opened: RunFolder,
    model: str,
    terminal: Terminal,
    again: bool,
    like: tuple[Path, ...] = (),
    loading: dict[str, Any] | None = None,
) -> None:
    """Encode the texts; those that a run folder of `like` has encoded are taken from there."""
    name = _name_in(opened, model)
    paths = [opened.embeddings_path(name, kind) for kind in opened.kinds_of_texts]
    if not again and _embedded_already(opened, model):
        opened.read_embeddings(name)  # refuses what is damaged
        terminal.say(f"{name}: embeddings are there already")
        return
    try:
        from torch_embed import processes
        from torch_embed.encoding.encode import embed_file, expected_time, in_words
        from torch_embed.encoding.encoder import load_encoder
        from torch_embed.encoding.layout import lesson_of
    except ModuleNotFoundError as missing:
        raise InputError(f"embedding needs {missing.name}; pip install 'jaxrec[embed]'") from None
    from jaxrec.budget import Cost, in_time
    from jaxrec.experiment.fitting import refuse_taught
    from jaxrec.experiment.rows import unchosen
    from jaxrec.experiment.scoring import set_stale_results_aside
    from jaxrec.experiment.study import encoded_elsewhere
    from jaxrec.files import check_space

    refuse_taught(opened, model, lesson_of(model))
    encoder = replace(load_encoder(model, **loading or {}), name=name)
    terminal.say(encoder.told())
    # float32 embeddings and the hash of each text
    check_space(opened.path, len(paths) * opened.dataset.items * (4 * encoder.dim + 32))
    _say_replaced(paths[0], terminal, encoder.card(), "weights_sha256")
    encoded = encoded_elsewhere(opened, name, like)
    for kind in opened.kinds_of_texts:
        with processes.first_ahead():
            if processes.is_first():
                opened.write_texts(kind)
        path, texts = opened.embeddings_path(name, kind), opened.texts_path(kind)
        if (expected := expected_time(encoder, texts, encoded)) is not None:
            if (why := opened.budget.too_long(Cost(0.0, expected, 0.0))) is not None:
                first = opened.command("embed", "--model", model)
                raise InputError(f"{name}: {why}, or run `{first}` first")
            terminal.say(f"{name}: about {in_time(max(expected, 1))} on this CPU")
        what = f"{name}, {opened.dataset.items:,} {kind} texts"
        with terminal.count(what, opened.dataset.items) as on_batch:
            card = embed_file(encoder, texts, path, on_batch, encoded)
        terminal.say(f"{name}: {in_words(card)} ({kind} texts)")
        opened.read_embeddings(name, kind)
        encoded.append(path)
    if processes.is_first():
        terminal.say(unchosen(opened, name), set_stale_results_aside(opened))


def _embedded_already(opened: RunFolder, model: str) -> bool:
    name = _name_in(opened, model)
    return all(opened.embeddings_path(name, kind).exists() for kind in opened.kinds_of_texts)


def _without(opened: RunFolder, terminal: Terminal, why: str) -> None:
    """Tell that nothing is embedded, and what rows read all the same."""
    if kept := opened.embedding_names("honest"):
        terminal.warn(f"Going on with the embeddings that are there ({', '.join(kept)}): {why}")
    else:
        terminal.lost("text", why)


def _name_in(opened: RunFolder, model: str) -> str:
    """What a model is called in a run folder."""
    from torch_embed.names import model_id, names_of

    return opened.name_for(model_id(model), names_of(model))


def _say_replaced(path: Path, terminal: Terminal, card: dict[str, Any], *more: str) -> None:
    """Say how embeddings in `path` were made otherwise than by this card of an encoder."""
    from jaxrec.experiment.kept import card_of, differing

    there = card_of(path)
    made_with = there.get("training", {}) | there.get("settings", {}) | there
    if old := differing(made_with, {key: card[key] for key in (*ask.LOADING, *more)}):
        terminal.say(f"{path.stem}: takes the place of embeddings made with {old}")


@contextmanager
def _first_ahead(terminal: Terminal) -> Iterator[None]:
    """Under a launcher the first process goes ahead; the others wait for it, and are quiet."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    from torch_embed import processes

    processes.start()
    if not processes.is_first():
        terminal.verbosity = -1
    with processes.first_ahead():
        yield


def _finetune(
    session: Session,
    model: str,
    loading: dict[str, Any],
    options: dict[str, Any],
    budget: Budget | None = None,
) -> None:
    """Fine-tune an encoder on the train part; validation of the fusion stops it."""
    try:
        from torch_embed import processes
        from torch_embed.encoding.encoder import load_encoder
        from torch_embed.encoding.layout import lesson_of
        from torch_embed.hub import silence
        from torch_embed.learn import in_words, learn
        from torch_embed.training.recipe import resolve
    except ModuleNotFoundError as missing:
        stop(f"fine-tuning needs {missing.name}; pip install 'jaxrec[embed]'", 2)
    from jaxrec.border.draws import Taught
    from jaxrec.experiment.choices import validation_ndcg
    from jaxrec.experiment.fitting import refuse_taught
    from jaxrec.experiment.rows import unchosen
    from jaxrec.experiment.scoring import set_stale_results_aside
    from jaxrec.files import read_sealed

    silence()
    terminal, draw = session.terminal, options.pop("draw", None) or 1
    with _first_ahead(terminal):
        arithmetic = {option: loading.pop(option, None) for option in ("nf4", "dtype")}
        # first: contradictions leave no run folder behind
        recipe = resolve(model, **arithmetic, **options)
        opened = open_run_of(session, budget=budget)
        recipe = recipe.with_seed(opened.draw_seed(draw))
        refuse_taught(opened, model, lesson_of(model))
        base = _name_in(opened, model)
        name = Taught(base, draw).name
        kind = opened.kinds_of_texts[0] if options.get("preset") == "published" else "honest"
        folder, saved = opened.lesson_path(name, kind), opened.encoder_path(name, kind)
        if processes.is_first():
            _prepare(opened, folder, model, kind, recipe, terminal)

    def validate(read: Any) -> float:
        blind = read_sealed(folder / "card.json", "give the command again", {}).get("blind", {})
        figure = validation_ndcg(opened, lambda split: read(blind.get(split.sha256())))
        terminal.say(f"{name}: validation NDCG@25 {figure:.4f}")
        return figure

    encoder = replace(load_encoder(model, nf4=recipe.nf4, **loading), name=base)
    terminal.say(encoder.told())
    out, how = opened.embeddings_path(name, kind), asdict(recipe)
    how |= how.pop("settings")
    _say_replaced(out, terminal, encoder.card() | how, *how)
    remedy = f"the last good checkpoint is in {folder / 'checkpoints'}; lower --rate, or"
    try:
        with resumable(f"{remedy} --dtype float32"), terminal.steps(name) as on_step:
            card = learn(encoder, folder, recipe, out, saved, validate, on_step)
    except RuntimeError as error:
        if excuse(error) is not None:
            raise
        stop(str(error).splitlines()[0], 1)
    if processes.is_first():
        terminal.say(f"{name}: {in_words(card)}; saved in {saved}")
        opened.read_embeddings(name, kind)
        if kind == "honest":
            terminal.say(unchosen(opened, name))
        terminal.say(set_stale_results_aside(opened))


def _prepare(
    opened: RunFolder, folder: Path, model: str, kind: str, recipe: Recipe, terminal: Terminal
) -> None:
    """Write the lesson, and say what learning it takes."""
    from jaxrec.border.lesson import LessonSettings
    from jaxrec.experiment.fitting import write_lesson
    from jaxrec.experiment.rows import unread
    from jaxrec.files import check_space
    from torch_embed.names import model_id
    from torch_embed.training.preflight import bytes_kept, preflight

    check_space(opened.path, bytes_kept(model, recipe))
    wanted = LessonSettings(*recipe.lesson)
    examples: int = write_lesson(opened, folder, kind, wanted, model_id(model))["examples"]
    terminal.say(f"{folder.name}: {examples:,} examples for {recipe.settings.loss} in {folder}")
    terminal.say(unread(opened, folder.name, kind))
    terminal.say(f"{folder.name}: {preflight(model, recipe, folder, opened.budget.left)}")


def _finetune_once(
    opened: RunFolder, model: str, like: tuple[Path, ...], terminal: Terminal
) -> None:
    """Fine-tune by the preset `best`, if neither this run folder nor one of `like` has done so."""
    from jaxrec.border.draws import Taught
    from jaxrec.experiment.study import adopt_taught
    from torch_embed.names import model_id

    name = Taught(_name_in(opened, model)).name
    there = adopt_taught(opened, name, model_id(model), like)
    terminal.say(there)
    if there is None:
        session = Session(opened.path, None, None, None, terminal)
        _finetune(session, model, {}, {}, opened.budget)


@main.command()
@on_run_folder(_mistakes)
@ask.fit_options
@ask.memory_option
@shared_by("fusing.fit_on_everything", "--out", "--row")
def fit(
    session: Session, out: Path, row: str | None, segments: Path | None, memory: int | None
) -> None:
    """Fit what an experiment chose on everything, into a folder that serves.

    The figures it is chosen by stay those of the experiment.
    """
    from jaxrec.files import check_space
    from jaxrec.serving import fit as fitting
    from jaxrec.serving.additions import read_segments
    from jaxrec.serving.folder import check_place, in_words, write_model

    check_place(out)
    hold(of_model(out), out)
    opened, terminal = open_existing(session, budget_of(memory)), session.terminal
    members = None if segments is None else read_segments(segments, opened.dataset.user_ids)
    of_card, card = fitting.choose_row(opened, row)
    E, embedded, encoder = _embedded(opened, of_card, terminal)
    pairs = 16 * len(opened.dataset.interactions.users)
    check_space(out, pairs + (0 if E is None else E.nbytes))
    says = fitting.model_card(opened, of_card, card, embedded)
    with resumable():
        model = fitting.fit_model(opened, of_card, says, E, members)
    replaced = out.exists() and any(out.iterdir())
    write_model(out, model, encoder)
    terminal.say(f"{out}: the model that was there is replaced" if replaced else None)
    terminal.result(*in_words(says))
    terminal.result(f"strangers get: {model.strangers.in_words(None)}")
    terminal.say(f"written: {out}; now `jaxrec recommend --model {quote(str(out))} --user ID`")


def _embedded(
    opened: RunFolder, row: Row, terminal: Terminal
) -> tuple[Any, dict[str, Any] | None, Path | None]:
    """Embeddings for a model that knows all remarks, their card, and a fine-tuned encoder.

    Texts that an experiment may not read in full are encoded anew, where that can be done.
    """
    import tempfile

    from jaxrec.border.embeddings import read_embeddings
    from jaxrec.border.texts import texts_sha256, write_texts
    from jaxrec.data.features import item_texts
    from jaxrec.experiment.choices import chosen_embeddings
    from jaxrec.experiment.rows import reads_texts

    name = chosen_embeddings(opened) if reads_texts([row]) else None
    if name is None:
        return None, None, None
    E, card = opened.read_embeddings(name, "honest")
    encoder = opened.encoder_path(name, "honest")
    if encoder.exists():
        return E, card, encoder  # of several folds: an item is embedded by that of its own
    texts, honest = item_texts(opened.dataset), opened.texts("honest")
    if texts == honest:
        return E, card, None
    differ = sum(one != other for one, other in zip(texts, honest, strict=True))
    try:
        from torch_embed.encoding.encode import embed_file
        from torch_embed.encoding.encoder import load_encoder

        loaded = load_encoder(card["model"], **_loaded_as(card))
        if loaded.weights_sha256 != card["weights_sha256"]:
            raise InputError(f"{card['model']} is another encoder by now")
    except Exception as error:
        if (why := excuse(error, (ModuleNotFoundError, *_mistakes()))) is None:
            raise
        terminal.say(f"{name}: {differ:,} texts keep to what the experiment could read ({why})")
        return E, card, None
    with tempfile.TemporaryDirectory() as scratch:
        asked, made = Path(scratch) / "texts.parquet", Path(scratch) / "E.safetensors"
        write_texts(asked, opened.dataset, texts)
        with terminal.count(f"{name}, texts with every remark", len(texts)) as on_batch:
            embed_file(loaded, asked, made, on_batch, [opened.embeddings_path(name, "honest")])
        sha256 = texts_sha256(opened.dataset, texts)
        E, card = read_embeddings(made, len(texts), sha256, "jaxrec fit")
    terminal.say(f"{name}: {differ:,} texts hold remarks that the experiment could not read")
    return E, card, None


@main.group("model")
def on_model() -> None:
    """Change a model that `jaxrec fit` made."""


@on_model.command("add-items")
@ask.the_model_option
@click.argument("items", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--encoder", help="What encodes their texts.  [default: what encoded the others]")
@speaking(_mistakes)
def add_items(terminal: Terminal, model: Path, items: Path, encoder: str | None) -> None:
    """Place new items, which nobody has interacted with, by their texts, without a refit."""
    from jaxrec.data.features import template_texts
    from jaxrec.serving.additions import new_items
    from jaxrec.serving.folder import read_model, write_model
    from jaxrec.serving.model import check_places_items

    hold(of_model(model), model)
    served = read_model(model)
    check_places_items(served)
    catalogue, said = new_items(served, items)
    terminal.say(*said)
    if not len(catalogue.ids):
        return
    E, own = None, model / "encoder"
    if served.E is not None:
        E = _encoded(encoder, own, served.card["encoder"], template_texts(catalogue))
    placed = served.with_items(catalogue, E)
    write_model(model, placed, own if own.exists() else None)
    terminal.say(f"{len(catalogue.ids):,} placed; {model} has {len(placed.catalogue.ids):,} items")


def _loaded_as(card: dict[str, Any]) -> dict[str, Any]:
    """How an encoder was loaded, by the card of the embeddings that it made."""
    return {key: card[key] for key in ask.LOADING if key in card}


def _encoded(asked: str | None, own: Path, card: dict[str, Any], texts: list[str]) -> Any:
    """Embeddings of texts by the encoder of a model; of several folds the mean."""
    try:
        import numpy as np

        from torch_embed.encoding.encode import encode
        from torch_embed.encoding.encoder import load_encoder
    except ModuleNotFoundError as missing:
        raise InputError(f"new texts need {missing.name}; pip install 'jaxrec[embed]'") from None
    folders = [str(asked)] if asked else [str(path) for path in sorted(own.glob("fold-*"))]
    folders = folders or [str(own) if own.exists() else card["model"]]
    try:
        loaded = [load_encoder(folder, **_loaded_as(card)) for folder in folders]
    except _mistakes() as error:
        raise InputError(f"{error}; or say what encoded the others: --encoder") from None
    hashes = [encoder.weights_sha256 for encoder in loaded]
    if (hashes if len(hashes) > 1 else hashes[0]) != card["weights_sha256"]:
        raise InputError(
            f"{', '.join(folders)} is not what encoded the model's items; give that: --encoder"
        )
    E = np.mean([encode(encoder, texts) for encoder in loaded], axis=0)
    return E / np.linalg.norm(E, axis=1, keepdims=True)


if __name__ == "__main__":
    from jaxrec.__main__ import main as program

    program()
