"""The `jaxrec` command: parses, calls, prints.

Heavy packages are imported inside the commands, so that `jaxrec --help` answers at once.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from jaxrec.console.options import (
    alpha_of,
    cutoffs,
    finetune_options,
    memory_option,
    pmf_options,
    rows_option,
)

if TYPE_CHECKING:
    from jaxrec.console.terminal import Terminal
    from jaxrec.evaluation.card import ScoreCard
    from jaxrec.experiment.folder import RunFolder
    from jaxrec.experiment.scoring import Fusion
    from jaxrec.pmf.objective import PmfSettings
    from torch_embed.training.recipe import Recipe


def on_run_folder(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that mean the same everywhere; bad input ends in one line and status 2."""

    @click.option(
        "--run",
        "run_path",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("jaxrec-run"),
        show_default=True,
        help="Folder of the experiment; made if absent.",
    )
    @click.option("--data", help="Name or folder of the data set.  [default: ml-latest-small]")
    @click.option(
        "--protocol",
        type=click.Choice(["strict", "published", "temporal", "cold-items", "cold-users"]),
        help="Evaluation protocol.  [default: strict]",
    )
    @click.option("--seed", type=click.IntRange(0, 2**31), help="Of split and fit.  [default: 42]")
    @click.option("-v", "--verbose", is_flag=True, help="Say more.")
    @click.option("-q", "--quiet", is_flag=True, help="Say nothing but results.")
    @functools.wraps(command)
    def wrapped(*args: Any, verbose: bool, quiet: bool, **options: Any) -> None:
        import jaxrec.errors
        import torch_embed.errors
        from jaxrec.console.terminal import Terminal

        _prepare_jax()
        try:
            command(*args, terminal=Terminal(int(verbose) - int(quiet)), **options)
        except (jaxrec.errors.InputError, torch_embed.errors.InputError) as error:
            _stop(str(error), 2)
        except OSError as error:
            _stop(f"{error.filename or 'the system'}: {error.strerror or error}", 2)

    return wrapped


def _prepare_jax() -> None:
    """Let JAX find what an earlier command compiled, and leave torch its part of a GPU's memory.

    Read when JAX is imported, later on.
    """
    import platformdirs

    folder = Path(platformdirs.user_cache_dir("jaxrec")) / "compiled"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def _stop(line: str, status: int) -> NoReturn:
    click.echo(f"jaxrec: {line}", err=True)
    sys.exit(status)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="jaxrec")
def main() -> None:
    """Interactions and item texts in, a hybrid recommender with an honest score card out."""


@main.command()
@on_run_folder
@click.option("--model", default="minilm", show_default=True, help="Encoder; see `jaxrec embed`.")
@cutoffs
@rows_option
@click.option(
    "--seeds", type=click.IntRange(min=1), help="So many splits, a run folder each, and a summary."
)
@click.option(
    "--inits", type=click.IntRange(min=1), default=1, help="Initialisations of each split."
)
@click.option("--finetune", is_flag=True, help="Fine-tune the encoder first.")
@click.option("--trials", type=click.IntRange(min=1), help="Tune first, so many trials a row.")
@click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the score card or the summary here.",
)
def run(
    run_path: Path,
    data: str | None,
    protocol: str | None,
    seed: int | None,
    model: str,
    ks: tuple[int, ...],
    only: tuple[str, ...],
    seeds: int | None,
    inits: int,
    finetune: bool,
    trials: int | None,
    json_path: Path | None,
    terminal: Terminal,
) -> None:
    """Do everything: train, embed, evaluate; what is there already is kept.

    With --seeds or --inits, and always under cold-items (five folds), DIR holds a run folder for
    each split and `summary.json`.
    """
    import itertools
    import shutil

    from jaxrec.data.sources import SYNTHETIC, AbsentError
    from jaxrec.evaluation.protocol import PROTOCOLS
    from jaxrec.experiment.folder import open_run
    from jaxrec.files import write_json

    def everything(
        path: Path, like: tuple[Path, ...] = (), tuned: Path | None = None, **asked: Any
    ) -> None:
        nonlocal data
        try:
            opened = open_run(path, data, protocol, progress=terminal.verbosity >= 0, **asked)
        except AbsentError as error:
            if data is not None or (path / "experiment.json").exists():
                raise
            terminal.warn(f"{error}\nGoing on with SYNTHETIC data made by jaxrec.")
            data = SYNTHETIC
            opened = open_run(path, data, protocol, **asked)
        _describe(opened, terminal)
        if tuned is not None and tuned.exists():
            shutil.copytree(tuned, path / "tuned", dirs_exist_ok=True)
        _do_everything(opened, model, ks, only, None if tuned else trials, like, finetune, terminal)

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise click.UsageError("several processes share `jaxrec embed`; start `run` as one")
    rules = PROTOCOLS[protocol or next(iter(PROTOCOLS))]
    if seeds is not None and not rules.seeded:
        raise click.UsageError(f"{protocol} has one split; give --inits instead of --seeds")
    folds = range(rules.folds)
    if seeds is None and len(folds) == 1 and inits == 1:
        everything(run_path, seed=seed)
        if json_path is not None:
            json_path.write_bytes((run_path / "results.json").read_bytes())
        return
    if (run_path / "experiment.json").exists():
        _stop(f"{run_path} is one run folder; give another --run for several", 2)
    first = 1 if seed is None else seed
    splits = range(first, first + (1 if seeds is None else seeds))
    done: list[Path] = []
    for of_split, fold, init in itertools.product(splits, folds, range(inits)):
        parts = [f"seed-{of_split}"]
        parts += [f"fold-{fold}"] if len(folds) > 1 else []
        parts += [f"init-{init}"] if inits > 1 else []
        path = run_path / "-".join(parts)
        tuned = done[-init] / "tuned" if init else None  # initialisations share the settings
        everything(path, tuple(done), tuned, seed=of_split, fold=fold, init=init)
        done.append(path)
    from jaxrec.experiment.study import summarise
    from jaxrec.report.summary import summary_table

    summary = summarise(done)
    write_json(run_path / "summary.json", summary.to_json())
    if json_path is not None:
        write_json(json_path, summary.to_json())
    for k in ks:
        terminal.result(summary_table(summary, k))


def _do_everything(
    opened: RunFolder,
    model: str,
    ks: tuple[int, ...],
    only: tuple[str, ...],
    trials: int | None,
    like: tuple[Path, ...],
    finetune: bool,
    terminal: Terminal,
) -> None:
    """Train, embed and evaluate what is not there yet."""
    from jaxrec.experiment.choices import pmf_settings_of
    from jaxrec.experiment.fitting import PUBLISHED
    from jaxrec.experiment.scoring import PUBLISHED_FUSION, rows_of

    _embed(opened, model, terminal, again=False, like=like)
    if finetune:
        _finetune_once(opened, model, like, terminal)
    if trials is not None:
        _tune(opened, only, trials, 2**30, terminal)
    for row, settings in (("mf", PUBLISHED), ("pmf", pmf_settings_of(opened))):
        if not any(needing.factors == row for needing in rows_of(opened, only)):
            continue
        if row in opened.factors_rows() and not (row == "pmf" and pmf_is_stale(opened)):
            opened.read_factors(row)
            terminal.say(f"{row}: factors are there already")
        else:
            _train(opened, settings, terminal)
    _evaluate(opened, ks, PUBLISHED_FUSION, None, terminal, only=only)


@main.command()
@on_run_folder
@rows_option
@click.option("--trials", type=click.IntRange(min=1), default=30, show_default=True, help="A row.")
@memory_option
def tune(
    run_path: Path,
    data: str | None,
    protocol: str | None,
    seed: int | None,
    only: tuple[str, ...],
    trials: int,
    memory: int,
    terminal: Terminal,
) -> None:
    """Search settings on validation; interrupted, the same command goes on.

    What is found is used by `eval`, `recommend` and `train-pmf` in this run folder.
    """
    opened = _open(run_path, data, protocol, seed, terminal)
    from jaxrec.errors import InputError
    from jaxrec.experiment.tuning import tunable

    for row in only:
        if row not in tunable():
            raise InputError(f"no row {row!r} to tune; there are {', '.join(tunable())}")
    _tune(opened, only, trials, memory * 2**20, terminal)
    terminal.say(f"Now `jaxrec train-pmf --run {opened.path}` and `jaxrec eval` use these.")


def _tune(
    opened: RunFolder, only: tuple[str, ...], trials: int, memory: int, terminal: Terminal
) -> None:
    """Tune the rows that can be, or those of `only` and of what `hybrid` fuses if it is there."""
    from jaxrec.experiment.choices import SIGNALS
    from jaxrec.experiment.tuning import tunable, tune
    from jaxrec.models.registry import MODELS

    wanted = {*only, *(SIGNALS if "hybrid" in only else ())}
    for row in tunable():
        if MODELS[row].lacks is not None or (wanted and row not in wanted):
            continue
        with terminal.sweeps(row, trials, "NDCG@25") as on_trial:
            card = tune(opened, row, trials, memory, on_trial)
        terminal.say(f"{row}: {card['validation_ndcg@25']:.4f} with {card['settings']}")


@main.command("train-pmf")
@on_run_folder
@pmf_options
def train_pmf(
    run_path: Path,
    data: str | None,
    protocol: str | None,
    seed: int | None,
    terminal: Terminal,
    likelihood: str | None,
    **options: Any,
) -> None:
    """Fit the collaborative branch; interrupted, the same command resumes."""
    opened = _open(run_path, data, protocol, seed, terminal)
    from jaxrec.experiment.choices import pmf_settings_of
    from jaxrec.experiment.fitting import DEFAULTS, GRADIENT_SWEEPS, PUBLISHED

    default = pmf_settings_of(opened) if likelihood is None else DEFAULTS[likelihood]
    if options["solver"] == "sequential":
        default = PUBLISHED if likelihood is None else PUBLISHED._replace(likelihood=likelihood)
    if options["target"] is not None and default.likelihood != "all-pairs":
        raise click.UsageError(f"--target is for all-pairs; {default.likelihood} learns the stars")
    if options["solver"] == "gradient":
        default = default._replace(sweeps=GRADIENT_SWEEPS)
    asked = {name: value for name, value in options.items() if value is not None}
    settings = default._replace(**asked)
    _train(opened, settings, terminal, asked=settings != pmf_settings_of(opened))


@main.command()
@on_run_folder
@click.option(
    "--model",
    default="minilm",
    show_default=True,
    help="minilm, qwen3-0.6b, qwen3-4b, qwen3-8b, a hub id or a local folder.",
)
@click.option("--dim", type=click.IntRange(min=1), help="Keep the first so many dimensions.")
@click.option(
    "--nf4/--no-nf4",
    default=None,
    help="Load the model in 4 bits.  [default: when fine-tuning Qwen3]",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16"]),
    help="Compute in.  [default: the model's; fine-tuning bfloat16 on a GPU]",
)
@finetune_options
def embed(
    run_path: Path,
    data: str | None,
    protocol: str | None,
    seed: int | None,
    model: str,
    dim: int | None,
    nf4: bool | None,
    dtype: str | None,
    finetune: bool,
    terminal: Terminal,
    **options: Any,
) -> None:
    """Encode the item texts with a language model, or fine-tune one first.

    A fine-tuning that was interrupted goes on with the same command. Under `accelerate launch`
    several GPUs share its batches.
    """
    if finetune:
        options |= {"nf4": nf4, "dtype": dtype}
        _finetune(run_path, data, protocol, seed, model, dim, options, terminal)
        return
    given = [name for name, value in options.items() if value not in (None, ())]
    if given:
        option = {"modules": "lora-module", "per_user": "pairs"}.get(given[0], given[0])
        raise click.UsageError(f"--{option.replace('_', '-')} needs --finetune")
    with _first_ahead(terminal):
        opened = _open(run_path, data, protocol, seed, terminal)
    loading = {"dim": dim, "nf4": nf4, "dtype": dtype}
    _embed(opened, model, terminal, again=True, loading=loading)


@main.command("eval")
@on_run_folder
@cutoffs
@rows_option
@memory_option
@click.option(
    "--fusion",
    type=click.Choice(["published", "sigmoid-cosine"]),
    default="published",
    show_default=True,
    help="How collaborative and content scores are fused.",
)
@click.option(
    "--alpha",
    default="0.85",
    show_default=True,
    help="Weight of the collaborative branch, 0 to 1, or `grid` to choose it on validation.",
)
@click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the score card here.",
)
@click.option(
    "--plot",
    "plot_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw the rows at the largest cut-off (PNG, PDF, SVG).",
)
@click.option(
    "--metrics-as",
    "library",
    type=click.Choice(["cornac", "implicit", "lenskit", "rectools", "ranx"]),
    help="Print the same lists by that library's definitions of its metrics, too.",
)
def evaluate(
    run_path: Path,
    data: str | None,
    protocol: str | None,
    seed: int | None,
    ks: tuple[int, ...],
    only: tuple[str, ...],
    memory: int,
    fusion: str,
    alpha: str,
    json_path: Path | None,
    plot_path: Path | None,
    library: str | None,
    terminal: Terminal,
) -> None:
    """Measure every row that can be made, and print the protocol card with the table."""
    weight = alpha_of(alpha)
    opened = _open(run_path, data, protocol, seed, terminal)
    from jaxrec.experiment.scoring import Fusion

    card = _evaluate(
        opened, ks, Fusion(fusion, weight), json_path, terminal, memory * 2**20, only, library
    )
    if plot_path is not None:
        from jaxrec.report.plot import plot_card

        plot_card(card, max(ks), plot_path)
        terminal.say(f"drawn: {plot_path}")


@main.command()
@on_run_folder
@click.option("--user", help="Id of the user to serve.")
@click.option(
    "--liked",
    multiple=True,
    help="Serve somebody new, who likes this item (id or title); may be given several times.",
)
@click.option("--all", "everyone", is_flag=True, help="Serve every user; needs --out.")
@click.option("-k", "k", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--row", help="Row of the score card.  [default: hybrid; with --liked pmf+text]")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --all: Parquet file of user_id, rank, item_id, title, score.",
)
@memory_option
def recommend(
    run_path: Path,
    data: str | None,
    protocol: str | None,
    seed: int | None,
    user: str | None,
    liked: tuple[str, ...],
    everyone: bool,
    k: int,
    row: str | None,
    out: Path | None,
    memory: int,
    terminal: Terminal,
) -> None:
    """Recommend unseen items to one user, to somebody new who likes some items, or to all.

    Fusion and alpha of the published rows are those of the last `jaxrec eval`.
    """
    if (user is not None) + everyone + bool(liked) != 1:
        raise click.UsageError("give --user ID, --liked ITEM, or --all with --out FILE")
    if everyone != (out is not None):
        raise click.UsageError("--all and --out FILE go together")
    opened = _open(run_path, data, protocol, seed, terminal)
    from jaxrec.serving.newcomers import COLD_ROW
    from jaxrec.serving.recommend import DEFAULT_ROW

    if liked:
        _recommend_liked(opened, liked, k, row or COLD_ROW, terminal, memory * 2**20)
    elif out is not None:
        _recommend_all(opened, k, row or DEFAULT_ROW, out, terminal, memory * 2**20)
    elif user is not None:
        _recommend_one(opened, user, k, row or DEFAULT_ROW, terminal, memory * 2**20)


@main.command()
@on_run_folder
@click.option("--item", required=True, help="Id or title.")
@click.option("-k", "k", type=click.IntRange(min=1), default=10, show_default=True)
@memory_option
def similar(
    run_path: Path,
    data: str | None,
    protocol: str | None,
    seed: int | None,
    item: str,
    k: int,
    memory: int,
    terminal: Terminal,
) -> None:
    """List the items most like one, by factors and by text."""
    opened = _open(run_path, data, protocol, seed, terminal)
    from jaxrec.serving.similar import similar as nearest

    position = opened.dataset.catalogue.find(item)
    for space, found in nearest(opened, position, k, memory * 2**20).items():
        terminal.result(f"Most like {opened.dataset.titles[position]} by {space}:")
        _list(opened, *found, terminal)


def _open(
    path: Path, data: str | None, protocol: str | None, seed: int | None, terminal: Terminal
) -> RunFolder:
    from jaxrec.experiment.folder import open_run

    opened = open_run(path, data, protocol, seed, terminal.verbosity >= 0)
    _describe(opened, terminal)
    return opened


def _describe(opened: RunFolder, terminal: Terminal) -> None:
    dataset, split = opened.dataset, opened.protocol.split
    terminal.say(
        f"{opened.path}: {dataset.name}{' (SYNTHETIC DATA)' if dataset.synthetic else ''},"
        f" {dataset.users:,} users, {dataset.items:,} items,"
        f" {len(split.train):,} train and {len(split.test):,} test ratings"
        f" (protocol {opened.protocol.name}, seed {opened.protocol.seed})"
    )
    terminal.detail(f"data from {dataset.source}, SHA-256 {opened.dataset.sha256}")


@contextmanager
def _resumable(remedy: str = "try a larger --lambda") -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        _stop("interrupted; the same command goes on from here", 130)
    except FloatingPointError as error:
        _stop(f"{error}; {remedy}", 1)


def _train(
    opened: RunFolder, settings: PmfSettings, terminal: Terminal, asked: bool = False
) -> None:
    from jaxrec.experiment.fitting import row_of, train_pmf

    what = f"{row_of(settings)}: {settings.likelihood} PMF, {settings.factors} factors"
    with _resumable(), terminal.sweeps(what, settings.sweeps) as on_sweep:
        card = train_pmf(opened, settings, on_sweep, asked)
    losses = card["losses"]
    terminal.say(f"{what}: objective {losses[-1]:.6g} after {len(losses)} sweeps")
    _tell_stale(opened, terminal)


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
        from torch_embed.encoding.encode import embed_file, estimate_seconds
        from torch_embed.encoding.encoder import load_encoder, model_id, short_name
        from torch_embed.encoding.saved import lesson_card
        from torch_embed.files import read_texts
    except ModuleNotFoundError as missing:
        line = f"embedding needs {missing.name}; pip install 'jaxrec[embed]'"
        if not again:
            terminal.say(f"{line}. Going on without text.")
            return
        _stop(line, 2)
    name = short_name(model)
    paths = [opened.embeddings_path(name, kind) for kind in opened.kinds_of_texts]
    there = all(path.exists() for path in paths)
    if there and not again and opened.read_embeddings(name).card["model"] == model_id(model):
        terminal.say(f"{name}: embeddings are there already")
        return
    from jaxrec.experiment.fitting import refuse_taught_elsewhere
    from jaxrec.experiment.study import encoded_elsewhere

    refuse_taught_elsewhere(opened, model, lesson_card(model))
    given = {option: value for option, value in (loading or {}).items() if value is not None}
    encoder = load_encoder(model, **given)
    encoded = encoded_elsewhere(opened, name, like)
    for kind in opened.kinds_of_texts:
        opened.write_texts(kind)
        path, texts = opened.embeddings_path(name, kind), read_texts(opened.texts_path(kind)).texts
        if encoder.model.device.type == "cpu" and not any(made.exists() for made in encoded):
            terminal.say(f"{name}: about {estimate_seconds(encoder, texts):.0f} s on this CPU")
        with terminal.count(f"{name}, {len(texts):,} {kind} texts", len(texts)) as on_batch:
            card = embed_file(encoder, opened.texts_path(kind), path, on_batch, encoded)
        terminal.say(
            f"{name}: {card['items']:,} embeddings of {card['dim']} dimensions ({kind} texts)"
        )
        opened.read_embeddings(name, kind)
        encoded.append(path)
    _tell_stale(opened, terminal)


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
    run_path: Path,
    data: str | None,
    protocol: str | None,
    seed: int | None,
    model: str,
    dim: int | None,
    options: dict[str, Any],
    terminal: Terminal,
) -> None:
    """Fine-tune an encoder on the train part; validation of the fusion stops it."""
    try:
        from torch_embed import processes
        from torch_embed.encoding.encoder import load_encoder, short_name, silence
        from torch_embed.encoding.saved import lesson_card
        from torch_embed.learn import learn
        from torch_embed.training.recipe import resolve
    except ModuleNotFoundError as missing:
        _stop(f"fine-tuning needs {missing.name}; pip install 'jaxrec[embed]'", 2)
    from jaxrec.experiment.fitting import refuse_taught_elsewhere

    silence()
    name = f"{short_name(model)}-ft"
    with _first_ahead(terminal):
        recipe = resolve(model, **options)  # first: contradictions leave no run folder behind
        opened = _open(run_path, data, protocol, seed, terminal)
        recipe = recipe.with_seed(opened.protocol.seed)
        refuse_taught_elsewhere(opened, model, lesson_card(model))
        kind = opened.kinds_of_texts[0] if options.get("preset") == "published" else "honest"
        folder, saved = opened.lesson_path(name, kind), opened.encoder_path(name, kind)
        if processes.is_first():
            _prepare(opened, folder, model, kind, recipe, terminal)

    def validate(E: Any) -> float:
        from jaxrec.experiment.choices import validation_ndcg

        figure = validation_ndcg(opened, E)
        terminal.say(f"{name}: validation NDCG@25 {figure:.4f}")
        return figure

    encoder = load_encoder(model, dim=dim, nf4=recipe.nf4)
    remedy = f"the last good checkpoint is in {folder / 'checkpoints'}; lower --rate, or"
    try:
        with _resumable(f"{remedy} --dtype float32"), terminal.steps(name) as on_step:
            out = opened.embeddings_path(name, kind)
            card = learn(encoder, folder, recipe, out, saved, validate, on_step)
    except RuntimeError as error:
        _stop(str(error).splitlines()[0], 1)
    if processes.is_first():
        share = card["trained_parameters"] / card["parameters"]
        terminal.say(
            f"{name}: trained {card['trained_parameters']:,} of {card['parameters']:,} parameters"
            f" ({share:.3%}), best epoch {card['best_epoch']}; saved in {saved}"
        )
        opened.read_embeddings(name, kind)
        _tell_stale(opened, terminal)


def _prepare(
    opened: RunFolder, folder: Path, model: str, kind: str, recipe: Recipe, terminal: Terminal
) -> None:
    """Write the lesson, and say what learning it takes."""
    from jaxrec.border.lesson import LessonSettings
    from jaxrec.experiment.fitting import write_lesson
    from torch_embed.training.preflight import preflight

    wanted = LessonSettings(
        recipe.pairs, recipe.per_user, recipe.popularity, recipe.folds, recipe.watched
    )
    examples: int = write_lesson(opened, folder, kind, wanted)["examples"]
    terminal.say(f"{folder.name}: {examples:,} examples for {recipe.settings.loss} in {folder}")
    terminal.say(f"{folder.name}: {preflight(model, recipe, folder)}")


def _finetune_once(
    opened: RunFolder, model: str, like: tuple[Path, ...], terminal: Terminal
) -> None:
    """Fine-tune by the preset `best`, if neither this run folder nor one of `like` has done so."""
    try:
        from torch_embed.encoding.encoder import model_id, short_name
    except ModuleNotFoundError:
        return  # `_embed` has told
    from jaxrec.experiment.study import adopt_taught

    name = f"{short_name(model)}-ft"
    holder = adopt_taught(opened, name, model_id(model), like)
    if holder is None:
        _finetune(opened.path, None, None, None, model, None, {}, terminal)
    elif holder == opened.path:
        terminal.say(f"{name}: embeddings are there already")
    else:
        terminal.say(f"{name}: embeddings of {holder}, which has the same texts and split")


def _tell_stale(opened: RunFolder, terminal: Terminal) -> None:
    from jaxrec.experiment.scoring import set_stale_results_aside

    aside = set_stale_results_aside(opened)
    if aside is not None:
        terminal.say(
            f"The last score card was made from other files and is stale; it is now {aside}."
            f" Run `jaxrec eval --run {opened.path}` for a new one."
        )


def _evaluate(
    opened: RunFolder,
    ks: tuple[int, ...],
    fusion: Fusion,
    json_path: Path | None,
    terminal: Terminal,
    memory: int = 2**30,
    only: tuple[str, ...] = (),
    library: str | None = None,
) -> ScoreCard:
    from jaxrec.evaluation.card import write_card
    from jaxrec.experiment.scoring import score_card
    from jaxrec.report.tables import parts

    ks = tuple(sorted(set(ks)))
    if fusion.alpha is None and "mf" in opened.factors_rows():
        _, factors_card = opened.read_factors("mf")
        what = "PMF on train without validation"
        with _resumable(), terminal.sweeps(what, factors_card["sweeps"]) as on_sweep:
            card = score_card(
                opened, ks, fusion, on_sweep, memory, only=only, library=library, say=terminal.say
            )
    else:
        card = score_card(
            opened,
            ks,
            fusion,
            memory=memory,
            on_row=terminal.detail,
            only=only,
            library=library,
            say=terminal.say,
        )
    if json_path is not None:
        write_card(json_path, card)
    for part in parts(card):
        terminal.result(part)
    return card


def _recommend_one(
    opened: RunFolder, user: str, k: int, row: str, terminal: Terminal, memory: int
) -> None:
    import numpy as np

    from jaxrec.serving.recommend import recommend

    dataset = opened.dataset
    (position,) = positions = dataset.user_ids.positions([user])
    items, scores, how = recommend(opened, positions, k, row, memory)
    if dataset.synthetic:
        terminal.result("SYNTHETIC DATA made by jaxrec")
    terminal.result(f"User {user}, latest ratings:")
    train = dataset.interactions.at(opened.protocol.split.known)
    own = train.at(np.flatnonzero(train.users == position))
    for latest in np.argsort(-own.times, kind="stable")[:5]:
        title = dataset.titles[own.items[latest]]
        terminal.result(f"  {own.values[latest]:.1f}  {title}")
    terminal.result(_how(how))
    _list(opened, items[0], scores[0], terminal)


def _recommend_liked(
    opened: RunFolder, liked: tuple[str, ...], k: int, row: str, terminal: Terminal, memory: int
) -> None:
    from jaxrec.serving.newcomers import recommend_liked

    items = [opened.dataset.catalogue.find(asked) for asked in liked]
    found = recommend_liked(opened, items, k, row, memory)
    if opened.dataset.synthetic:
        terminal.result("SYNTHETIC DATA made by jaxrec")
    titles = "; ".join(opened.dataset.titles[item] for item in dict.fromkeys(items))
    terminal.result(f"For somebody who likes {titles}, by {row}:")
    _list(opened, *found, terminal)


def _list(opened: RunFolder, items: Any, scores: Any, terminal: Terminal) -> None:
    for rank, (item, score) in enumerate(zip(items, scores, strict=True), start=1):
        if item >= 0:
            terminal.result(f"{rank:>4}  {score:8.4f}  {opened.dataset.titles[item]}")


def _recommend_all(
    opened: RunFolder, k: int, row: str, out: Path, terminal: Terminal, memory: int
) -> None:
    from jaxrec.files import whole_file
    from jaxrec.serving.recommend import recommend_all

    table, how = recommend_all(opened, k, row, memory)
    with whole_file(out) as partial:
        table.write_parquet(partial, metadata={"data": opened.dataset.name})
    served = table["user_id"].n_unique()
    terminal.say(f"{_how(how)} {len(table):,} rows for {served:,} users in {out}")
    if served < opened.dataset.users:
        terminal.say(f"{opened.dataset.users - served:,} users without train ratings are left out")


def _how(how: dict[str, Any]) -> str:
    settings = [f"{name} {how[name]}" for name in ("fusion", "alpha") if name in how]
    return f"Recommended by {', '.join([how['row'], *settings])}:"


if __name__ == "__main__":
    main()
