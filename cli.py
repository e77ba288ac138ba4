"""The `jaxrec` command: parses, calls, prints; the one place that knows both packages.

Heavy packages are imported inside the commands, so that `jaxrec --help` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

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

if TYPE_CHECKING:
    from jaxrec.console.terminal import Terminal
    from jaxrec.evaluation.card import ScoreCard
    from jaxrec.experiment.folder import RunFolder
    from jaxrec.experiment.rows import Row
    from jaxrec.experiment.scoring import Fusion
    from jaxrec.pmf.objective import PmfSettings
    from torch_embed.training.recipe import Recipe


def _mistakes() -> tuple[type[Exception], ...]:
    import jaxrec.errors
    import torch_embed.errors

    return jaxrec.errors.InputError, torch_embed.errors.InputError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="jaxrec")
def main() -> None:
    """Interactions and item texts in, a hybrid recommender with an honest score card out."""


@main.group()
def data() -> None:
    """Look at data before they are used."""


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
    from jaxrec.files import write_json
    from jaxrec.sources import inspection
    from jaxrec.sources.description import write_description
    from jaxrec.sources.guess import describe
    from jaxrec.sources.library import find
    from jaxrec.sources.reading import read_dataset

    place = find(str(path))
    described = describe(place, **known)
    with terminal.reading() as on_bytes:
        dataset = read_dataset(described, str(place.resolve()), strict, on_bytes)
    found = inspection.inspect(dataset, described) | {"protocols": held_out(dataset)}
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
    if out.exists() and not force:
        terminal.say(f"{out} is there, and kept (--force)")
        return
    write_description(out, inspection.as_found(dataset, described), lines)
    terminal.say(f"written: {out}; edit it if something is wrong, then `jaxrec run --data {out}`")


@main.command()
@on_run_folder(_mistakes)
@ask.model_option
@ask.cutoffs
@ask.rows_option
@ask.grid_options
@ask.json_option("the score card or the summary")
def run(
    session: Session, seeds: int | None, inits: int, json_path: Path | None, **what: Any
) -> None:
    """Do everything: train, embed, evaluate; what is there already is kept.

    With --seeds or --inits, and always under cold-items (five folds), DIR holds a run folder for
    each split and `summary.json`.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise click.UsageError("several processes share `jaxrec embed`; start `run` as one")
    from jaxrec.experiment.study import adopt_settings, grid, summarise
    from jaxrec.files import write_json
    from jaxrec.report.summary import summary_table

    cells = grid(session.path, session.protocol, session.seed, seeds, inits)
    for cell in cells:
        opened = _open(session, cell.path, seed=cell.seed, fold=cell.fold, init=cell.init)
        if opened.dataset.synthetic:
            session = replace(session, data=opened.dataset.name)  # for all cells, or for none
        tuned = {"trials": None} if adopt_settings(opened, cell) else {}
        _do_everything(opened, session.terminal, cell.like, **what | tuned)
    if cells[0].path == session.path:
        if json_path is not None:
            json_path.write_bytes((session.path / "results.json").read_bytes())
        return
    summary = summarise([cell.path for cell in cells])
    for place in filter(None, (session.path / "summary.json", json_path)):
        write_json(place, summary.to_json())
    for k in what["ks"]:
        session.terminal.result(summary_table(summary, k))


def _do_everything(
    opened: RunFolder,
    terminal: Terminal,
    like: tuple[Path, ...],
    *,
    model: str,
    ks: tuple[int, ...],
    only: tuple[str, ...],
    trials: int | None,
    finetune: bool,
) -> None:
    """Train, embed and evaluate what is not there yet."""
    from jaxrec.experiment.fitting import missing_factors
    from jaxrec.experiment.rows import rows_of
    from jaxrec.experiment.scoring import PUBLISHED_FUSION
    from jaxrec.experiment.tuning import rows_to_tune

    if not opened.protocol.rules.as_published:
        rows_of(opened, only)  # a name that is none is refused before anything is made
    with excused(partial(terminal.lost, "text"), _mistakes()):
        _embed(opened, model, terminal, again=False, like=like)
        if finetune:
            with excused(partial(terminal.lost, "fine-tuning"), _mistakes()):
                _finetune_once(opened, model, like, terminal)
    if trials is not None:
        _tune(opened, rows_to_tune(only), trials, 2**30, terminal)
    for row in sorted({row.factors for row in rows_of(opened, only) if row.factors is not None}):
        with excused(partial(terminal.lost, f"factors of {row}")):
            missing = missing_factors(opened, {row}, tuned=trials is not None)
            if row in missing:
                _train(opened, missing[row], terminal)
            else:
                terminal.say(f"{row}: factors are there already")
    _evaluate(opened, terminal, ks, PUBLISHED_FUSION, only=only)


@main.command()
@on_run_folder(_mistakes)
@ask.rows_option
@click.option("--trials", type=click.IntRange(min=1), default=30, show_default=True, help="A row.")
@ask.memory_option
def tune(session: Session, only: tuple[str, ...], trials: int, memory: int) -> None:
    """Search settings on validation; interrupted, the same command goes on.

    What is found is used by `eval`, `recommend` and `train-pmf` in this run folder.
    """
    opened = _open(session)
    from jaxrec.experiment.scoring import set_stale_results_aside
    from jaxrec.experiment.tuning import rows_to_tune

    rows = rows_to_tune(only, named=True)
    lost = _tune(opened, rows, trials, memory * 2**20, session.terminal)
    if len(lost) == len(rows):
        sys.exit(2)
    session.terminal.say(set_stale_results_aside(opened))
    session.terminal.say(f"Now `jaxrec train-pmf --run {opened.path}` and `jaxrec eval` use these.")


def _tune(
    opened: RunFolder, rows: list[str], trials: int, memory: int, terminal: Terminal
) -> dict[str, str]:
    """Tune rows; tells and returns which ones could not be, and why."""
    from jaxrec.experiment.tuning import tune_all

    lost = tune_all(opened, rows, trials, memory, terminal.sweeps, terminal.say)
    for row, why in lost.items():
        terminal.lost(f"tuning {row}", why)
    return lost


@main.command("train-pmf")
@on_run_folder(_mistakes)
@ask.pmf_options
def train_pmf(session: Session, likelihood: str | None, **options: Any) -> None:
    """Fit the collaborative branch; interrupted, the same command resumes."""
    opened = _open(session)
    from jaxrec.experiment.fitting import asked_settings

    _train(opened, asked_settings(opened, likelihood, options), session.terminal)


def _train(opened: RunFolder, settings: PmfSettings, terminal: Terminal) -> None:
    from jaxrec.experiment.fitting import row_of, train_pmf
    from jaxrec.experiment.scoring import set_stale_results_aside

    what = f"{row_of(settings)}: {settings.likelihood} PMF, {settings.factors} factors"
    with resumable(), terminal.sweeps(what, settings.sweeps) as on_sweep:
        losses = train_pmf(opened, settings, on_sweep)["losses"]
    terminal.say(f"{what}: objective {losses[-1]:.6g} after {len(losses)} sweeps")
    terminal.say(set_stale_results_aside(opened))


@main.command()
@on_run_folder(_mistakes)
@ask.model_option
@ask.loading_options
@ask.finetune_options
def embed(session: Session, model: str, finetune: bool, **options: Any) -> None:
    """Encode the item texts with a language model, or fine-tune one first.

    A fine-tuning that was interrupted goes on with the same command. Under `accelerate launch`
    several GPUs share its batches.
    """
    loading = {name: options.pop(name) for name in ask.LOADING}
    if finetune:
        _finetune(session, model, loading, options)
        return
    ask.refuse_without_finetune(options)
    with _first_ahead(session.terminal):
        opened = _open(session)
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
    try:
        from torch_embed.encoding.encode import embed_file, expected_time, in_words
        from torch_embed.encoding.encoder import load_encoder
        from torch_embed.encoding.saved import lesson_card
        from torch_embed.hub import model_id, short_name
    except ModuleNotFoundError as missing:
        raise InputError(f"embedding needs {missing.name}; pip install 'jaxrec[embed]'") from None
    name = short_name(model)
    paths = [opened.embeddings_path(name, kind) for kind in opened.kinds_of_texts]
    there = all(path.exists() for path in paths)
    if there and not again and opened.read_embeddings(name).card["model"] == model_id(model):
        terminal.say(f"{name}: embeddings are there already")
        return
    from jaxrec.experiment.fitting import refuse_taught_elsewhere
    from jaxrec.experiment.scoring import set_stale_results_aside
    from jaxrec.experiment.study import encoded_elsewhere

    refuse_taught_elsewhere(opened, model, lesson_card(model))
    encoder = load_encoder(model, **loading or {})
    terminal.say(encoder.told())
    encoded = encoded_elsewhere(opened, name, like)
    for kind in opened.kinds_of_texts:
        opened.write_texts(kind)
        path, texts = opened.embeddings_path(name, kind), opened.texts_path(kind)
        if (expected := expected_time(encoder, texts, encoded)) is not None:
            terminal.say(f"{name}: {expected}")
        what = f"{name}, {opened.dataset.items:,} {kind} texts"
        with terminal.count(what, opened.dataset.items) as on_batch:
            card = embed_file(encoder, texts, path, on_batch, encoded)
        terminal.say(f"{name}: {in_words(card)} ({kind} texts)")
        opened.read_embeddings(name, kind)
        encoded.append(path)
    terminal.say(set_stale_results_aside(opened))


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
    session: Session, model: str, loading: dict[str, Any], options: dict[str, Any]
) -> None:
    """Fine-tune an encoder on the train part; validation of the fusion stops it."""
    try:
        from torch_embed import processes
        from torch_embed.encoding.encoder import load_encoder
        from torch_embed.encoding.saved import lesson_card
        from torch_embed.hub import short_name, silence
        from torch_embed.learn import in_words, learn
        from torch_embed.training.recipe import resolve
    except ModuleNotFoundError as missing:
        stop(f"fine-tuning needs {missing.name}; pip install 'jaxrec[embed]'", 2)
    from jaxrec.experiment.choices import validation_ndcg
    from jaxrec.experiment.fitting import refuse_taught_elsewhere
    from jaxrec.experiment.scoring import set_stale_results_aside

    silence()
    terminal = session.terminal
    name = f"{short_name(model)}-ft"
    with _first_ahead(terminal):
        arithmetic = {name: loading.pop(name, None) for name in ("nf4", "dtype")}
        # first: contradictions leave no run folder behind
        recipe = resolve(model, **arithmetic, **options)
        opened = _open(session)
        recipe = recipe.with_seed(opened.protocol.seed)
        refuse_taught_elsewhere(opened, model, lesson_card(model))
        kind = opened.kinds_of_texts[0] if options.get("preset") == "published" else "honest"
        folder, saved = opened.lesson_path(name, kind), opened.encoder_path(name, kind)
        if processes.is_first():
            _prepare(opened, folder, model, kind, recipe, terminal)

    def validate(E: Any) -> float:
        figure = validation_ndcg(opened, E)
        terminal.say(f"{name}: validation NDCG@25 {figure:.4f}")
        return figure

    encoder = load_encoder(model, nf4=recipe.nf4, **loading)
    terminal.say(encoder.told())
    remedy = f"the last good checkpoint is in {folder / 'checkpoints'}; lower --rate, or"
    try:
        with resumable(f"{remedy} --dtype float32"), terminal.steps(name) as on_step:
            out = opened.embeddings_path(name, kind)
            card = learn(encoder, folder, recipe, out, saved, validate, on_step)
    except RuntimeError as error:
        if excuse(error) is not None:
            raise
        stop(str(error).splitlines()[0], 1)
    if processes.is_first():
        terminal.say(f"{name}: {in_words(card)}; saved in {saved}")
        opened.read_embeddings(name, kind)
        terminal.say(set_stale_results_aside(opened))


def _prepare(
    opened: RunFolder, folder: Path, model: str, kind: str, recipe: Recipe, terminal: Terminal
) -> None:
    """Write the lesson, and say what learning it takes."""
    from jaxrec.border.lesson import LessonSettings
    from jaxrec.experiment.fitting import write_lesson
    from torch_embed.training.preflight import preflight

    wanted = LessonSettings(*recipe.lesson)
    examples: int = write_lesson(opened, folder, kind, wanted)["examples"]
    terminal.say(f"{folder.name}: {examples:,} examples for {recipe.settings.loss} in {folder}")
    terminal.say(f"{folder.name}: {preflight(model, recipe, folder)}")


def _finetune_once(
    opened: RunFolder, model: str, like: tuple[Path, ...], terminal: Terminal
) -> None:
    """Fine-tune by the preset `best`, if neither this run folder nor one of `like` has done so."""
    from jaxrec.experiment.study import adopt_taught
    from torch_embed.hub import model_id, short_name

    name = f"{short_name(model)}-ft"
    there = adopt_taught(opened, name, model_id(model), like)
    terminal.say(there)
    if there is None:
        _finetune(Session(opened.path, None, None, None, terminal), model, {}, {})


@main.command("eval")
@on_run_folder(_mistakes)
@ask.cutoffs
@ask.rows_option
@ask.memory_option
@ask.eval_options
@ask.json_option("the score card")
def evaluate(
    session: Session,
    ks: tuple[int, ...],
    only: tuple[str, ...],
    memory: int,
    fusion: str,
    alpha: str,
    json_path: Path | None,
    plot_path: Path | None,
    library: str | None,
) -> None:
    """Measure every row that can be made, and print the protocol card with the table."""
    weight = ask.alpha_of(alpha)
    opened, terminal = _open(session), session.terminal
    from jaxrec.evaluation.card import write_card
    from jaxrec.experiment.scoring import Fusion

    more: dict[str, Any] = {"memory": memory * 2**20, "only": only, "library": library}
    card = _evaluate(opened, terminal, ks, Fusion(fusion, weight), **more)
    if json_path is not None:
        write_card(json_path, card)
    if plot_path is not None:
        from jaxrec.report.plot import plot_card

        plot_card(card, max(ks), plot_path)
        terminal.say(f"drawn: {plot_path}")


def _evaluate(
    opened: RunFolder, terminal: Terminal, ks: tuple[int, ...], fusion: Fusion, **more: Any
) -> ScoreCard:
    """Measure and print; `more` are arguments of `score_card`."""
    from jaxrec.experiment.scoring import score_card
    from jaxrec.report.tables import parts

    sweeps = 0
    if fusion.alpha is None and opened.protocol.rules.as_published:
        with excused(terminal.detail):
            sweeps = opened.read_factors("mf")[1]["sweeps"]
    more["on_row"] = terminal.detail
    with resumable(), terminal.sweeps("PMF on train without validation", sweeps) as on_sweep:
        card = score_card(opened, tuple(sorted(set(ks))), fusion, on_sweep, **more)
    terminal.result(*parts(card))
    return card


@main.command()
@on_run_folder(_mistakes)
@ask.fit_options
@ask.memory_option
def fit(session: Session, out: Path, row: str | None, segments: Path | None, memory: int) -> None:
    """Fit what an experiment chose on everything, into a folder that serves.

    The figures it is chosen by stay those of the experiment.
    """
    from jaxrec.serving import fit as fitting
    from jaxrec.serving.additions import read_segments
    from jaxrec.serving.folder import check_place, in_words, write_model

    check_place(out)
    opened, terminal = _open_existing(session), session.terminal
    of_card, card = fitting.choose_row(opened, row, memory * 2**20)
    members = None if segments is None else read_segments(segments)
    E, embedded, encoder = _embedded(opened, of_card, terminal)
    says = fitting.model_card(opened, of_card, card, embedded)
    with resumable():
        model = fitting.fit_model(opened, of_card, says, E, members, memory * 2**20)
    write_model(out, model, encoder)
    terminal.result(*in_words(says))
    terminal.say(f"written: {out}; now `jaxrec recommend --model {out} --user ID`")


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

    served = read_model(model)
    check_places_items(served)
    catalogue, said = new_items(served, items)
    terminal.say(*said)
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


@main.command()
@on_run_folder(_mistakes)
@ask.recommend_options
@ask.memory_option
def recommend(
    session: Session,
    model: Path | None,
    user: str | None,
    liked: tuple[str, ...],
    everyone: bool,
    k: int,
    row: str | None,
    out: Path | None,
    only: Path | None,
    exclude: Path | None,
    interactions: Path | None,
    segment: str | None,
    as_evaluated: bool,
    memory: int,
) -> None:
    """Recommend items to a user, to somebody new, or to all: never one that the user has.

    Fusion and alpha of the published rows are those of the last `jaxrec eval`.
    """
    who = (user is not None) + everyone + bool(liked)
    if who != 1 and not (who == 0 and segment is not None):
        raise click.UsageError("give --user ID, --liked ITEM, or --all with --out FILE")
    if everyone != (out is not None):
        raise click.UsageError("--all and --out FILE go together")
    ask.refuse_of_other_source(
        model is not None,
        {"--row": row, "--as-evaluated": as_evaluated},
        {"--interactions": interactions, "--segment": segment},
    )
    from jaxrec.serving import lists
    from jaxrec.serving.additions import wishes, with_interactions

    terminal, memory = session.terminal, memory * 2**20
    if out is not None:
        lists.check_format(out)
    if model is None:
        opened = _open_existing(session)
        dataset = opened.dataset
        wanted, said = wishes(dataset.user_ids, dataset.item_ids, k, only, exclude)
        terminal.say(*said)
        if not liked:
            from jaxrec.serving import evaluated

            how = wanted, row or evaluated.DEFAULT_ROW, as_evaluated, memory
            if out is None:
                terminal.result(*evaluated.in_lines_for(opened, str(user), *how))
                return
            table, by = evaluated.in_table(opened, *how)
            told = lists.write_table(out, [table], dataset.name)
            terminal.say(f"{by} {told} in {out}")
            return
        from jaxrec.experiment.rows import rows_of
        from jaxrec.serving.fit import model_of_train

        (of_card,) = rows_of(opened, (row or "pmf+text",))
        served = model_of_train(opened, of_card, memory)
    else:
        from jaxrec.serving.folder import read_model

        served = read_model(model)
        if interactions is not None:
            served, said = with_interactions(served, interactions)
            terminal.say(*said)
        wanted, said = wishes(served.user_ids, served.catalogue.ids, k, only, exclude)
        terminal.say(*said)
    if out is not None:
        tables = lists.for_everybody(served, wanted, memory)
        told = lists.write_table(out, tables, served.card["data"]["name"])
        terminal.say(f"Recommended by {served.row}: {told} in {out}")
    elif user is not None:
        terminal.result(*lists.for_user(served, user, wanted, segment, memory))
    elif liked:
        terminal.result(*lists.for_somebody(served, liked, wanted, memory))
    else:
        terminal.result(*lists.for_stranger(served, "somebody new", wanted, segment, memory))


@main.command()
@on_run_folder(_mistakes)
@ask.fitted_option
@click.option("--item", required=True, help="Id or title.")
@ask.list_length
@ask.memory_option
def similar(session: Session, model: Path | None, item: str, k: int, memory: int) -> None:
    """List the items most like one, by the vectors of a row and by text."""
    from jaxrec.serving.lists import similar_in_lines

    if model is None:
        from jaxrec.experiment.rows import rows_of
        from jaxrec.serving.fit import model_of_train

        opened = _open_existing(session)
        served = model_of_train(opened, rows_of(opened, ("pmf+text",))[0], memory * 2**20)
    else:
        from jaxrec.serving.folder import read_model

        served = read_model(model)
    session.terminal.result(*similar_in_lines(served, item, k))


@main.command()
@ask.export_options
@speaking(_mistakes)
def export(terminal: Terminal, model: Path, to: Path, form: str) -> None:
    """Write the vectors of users and items of every row that is a product of two."""
    from jaxrec.serving.export import check_format, export_model
    from jaxrec.serving.folder import read_model

    check_format(form)
    terminal.say(*export_model(read_model(model), to, form))


def _open_existing(session: Session) -> RunFolder:
    """Open a run folder that is there: what has measured nothing has nothing to serve."""
    from jaxrec.experiment.folder import check_run

    check_run(session.path)
    return _open(session)


def _open(session: Session, path: Path | None = None, **asked: Any) -> RunFolder:
    """Open or make the run folder; in `path`, where data that nobody has named are made up."""
    from jaxrec.experiment.folder import open_run
    from jaxrec.sources.library import SYNTHETIC, AbsentError

    place, terminal = path or session.path, session.terminal
    asked = {"protocol": session.protocol, "seed": session.seed, "say": terminal.say} | asked
    asked |= {"strict": session.strict, "progress": terminal.verbosity >= 0}
    try:
        with terminal.reading() as on_bytes:
            opened = open_run(place, session.data, on_bytes=on_bytes, **asked)
    except AbsentError as error:
        if path is None or session.data is not None or (place / "experiment.json").exists():
            raise
        terminal.warn(str(error), "Going on with SYNTHETIC data made by jaxrec.")
        opened = open_run(place, SYNTHETIC, **asked)
    terminal.say(opened.title)
    terminal.detail(f"data from {opened.dataset.source}, SHA-256 {opened.dataset.sha256}")
    return opened


if __name__ == "__main__":
    main()
