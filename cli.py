"""The `jaxrec` command: parses, calls, prints.

Heavy packages are imported inside the commands, so that `jaxrec --help` answers at once.
"""

from __future__ import annotations

import functools
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from jaxrec.run_folder import RunFolder
    from jaxrec.steps import Fusion, PmfSettings
    from jaxrec.terminal import Terminal


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
        type=click.Choice(["published"]),
        help="Evaluation protocol.  [default: published]",
    )
    @click.option("--seed", type=click.IntRange(0, 2**31), help="Of split and fit.  [default: 42]")
    @click.option("-v", "--verbose", is_flag=True, help="Say more.")
    @click.option("-q", "--quiet", is_flag=True, help="Say nothing but results.")
    @functools.wraps(command)
    def wrapped(*args: Any, verbose: bool, quiet: bool, **options: Any) -> None:
        import jaxrec.errors
        import torch_embed.errors
        from jaxrec.terminal import Terminal

        _keep_compiled_programs()
        try:
            command(*args, terminal=Terminal(int(verbose) - int(quiet)), **options)
        except (jaxrec.errors.InputError, torch_embed.errors.InputError) as error:
            _stop(str(error), 2)
        except OSError as error:
            _stop(f"{error.filename or 'the system'}: {error.strerror or error}", 2)

    return wrapped


def _keep_compiled_programs() -> None:
    """Let JAX find what an earlier command compiled; read when JAX is imported, later on."""
    import platformdirs

    folder = Path(platformdirs.user_cache_dir("jaxrec")) / "compiled"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")


def _stop(line: str, status: int) -> NoReturn:
    click.echo(f"jaxrec: {line}", err=True)
    sys.exit(status)


def _finite(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number")
    return value


def pmf_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options of a PMF fit; unset ones take the likelihood's defaults."""
    number: dict[str, Any] = {"type": click.FloatRange(min=0), "callback": _finite}
    options = [
        click.option(
            "--likelihood",
            type=click.Choice(["gaussian", "logistic", "all-pairs"]),
            help="Of stars, of stars as probabilities, or of every user-item pair."
            "  [default: all-pairs]",
        ),
        click.option(
            "--target",
            type=click.Choice(["liked", "graded", "counts"]),
            help="What all-pairs learns: liked ratings, all ratings by stars, or counts."
            "  [default: graded]",
        ),
        click.option("--factors", type=click.IntRange(min=1), help="Columns of U and V."),
        click.option("--lambda", "lambda_", help="L2 weight.", **number),
        click.option("--nu", help="Growth of a row's L2 weight with its ratings.", **number),
        click.option("--w0", help="Weight of every pair (all-pairs).", **number),
        click.option("--biases", is_flag=True, default=None, help="Add user and item biases."),
        click.option("--sweeps", type=click.IntRange(min=1), help="At most so many passes."),
        click.option("--tolerance", help="Stop when a sweep gains less than this share.", **number),
        click.option(
            "--solver",
            type=click.Choice(["alternating", "gradient", "sequential"]),
            help="Least squares by rows, L-BFGS, or the published program's RMSProp (logistic;"
            " its factors make the rows mf).  [default: alternating]",
        ),
        click.option("--float64", is_flag=True, default=None, help="Compute in double precision."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


cutoffs = click.option(
    "-k",
    "ks",
    type=click.IntRange(min=1),
    multiple=True,
    default=(25,),
    show_default=True,
    help="Cut-off; may be given several times.",
)


memory_option = click.option(
    "--memory",
    type=click.IntRange(min=1),
    default=1024,
    show_default=True,
    help="MiB that the arrays of ranking may take.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="jaxrec")
def main() -> None:
    """Ratings and item texts in, a hybrid recommender with an honest score card out."""


@main.command()
@on_run_folder
@click.option("--model", default="minilm", show_default=True, help="Encoder; see `jaxrec embed`.")
@cutoffs
def run(
    run_path: Path,
    data: str | None,
    protocol: str | None,
    seed: int | None,
    model: str,
    ks: tuple[int, ...],
    terminal: Terminal,
) -> None:
    """Do everything: train, embed, evaluate; what is there already is kept."""
    from jaxrec.run_folder import open_run
    from jaxrec.sources import SYNTHETIC, AbsentError

    try:
        opened = open_run(run_path, data, protocol, seed, terminal.verbosity >= 0)
    except AbsentError as error:
        if data is not None or (run_path / "experiment.json").exists():
            raise
        terminal.warn(f"{error}\nGoing on with SYNTHETIC data made by jaxrec.")
        opened = open_run(run_path, SYNTHETIC, protocol, seed)
    _describe(opened, terminal)
    from jaxrec.steps import DEFAULTS, PUBLISHED, PUBLISHED_FUSION

    for row, settings in (("mf", PUBLISHED), ("pmf", DEFAULTS["all-pairs"])):
        if opened.factors_path(row).exists():
            opened.read_factors(row)
            terminal.say(f"{row}: factors are there already")
        else:
            _train(opened, settings, terminal)
    _embed(opened, model, terminal, again=False)
    _evaluate(opened, ks, PUBLISHED_FUSION, None, terminal)


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
    from jaxrec.steps import DEFAULTS, GRADIENT_SWEEPS, PUBLISHED

    default = DEFAULTS["all-pairs" if likelihood is None else likelihood]
    if options["solver"] == "sequential":
        default = PUBLISHED if likelihood is None else PUBLISHED._replace(likelihood=likelihood)
    if options["target"] is not None and default.likelihood != "all-pairs":
        raise click.UsageError(f"--target is for all-pairs; {default.likelihood} learns the stars")
    if options["solver"] == "gradient":
        default = default._replace(sweeps=GRADIENT_SWEEPS)
    asked = {name: value for name, value in options.items() if value is not None}
    _train(opened, default._replace(**asked), terminal)


@main.command()
@on_run_folder
@click.option(
    "--model",
    default="minilm",
    show_default=True,
    help="minilm, qwen3-0.6b, qwen3-4b, qwen3-8b, a hub id or a local folder.",
)
def embed(
    run_path: Path,
    data: str | None,
    protocol: str | None,
    seed: int | None,
    model: str,
    terminal: Terminal,
) -> None:
    """Encode the item texts with a language model."""
    _embed(_open(run_path, data, protocol, seed, terminal), model, terminal, again=True)


@main.command("eval")
@on_run_folder
@cutoffs
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
def evaluate(
    run_path: Path,
    data: str | None,
    protocol: str | None,
    seed: int | None,
    ks: tuple[int, ...],
    memory: int,
    fusion: str,
    alpha: str,
    json_path: Path | None,
    terminal: Terminal,
) -> None:
    """Measure every row that can be made, and print the protocol card with the table."""
    weight = _alpha(alpha)
    opened = _open(run_path, data, protocol, seed, terminal)
    from jaxrec.steps import Fusion

    _evaluate(opened, ks, Fusion(fusion, weight), json_path, terminal, memory * 2**20)


@main.command()
@on_run_folder
@click.option("--user", type=int, help="Id of the user to serve.")
@click.option("--all", "everyone", is_flag=True, help="Serve every user; needs --out.")
@click.option("-k", "k", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--row", help="Row of the score card.  [default: pmf if there, else mf+minilm or mf]")
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
    user: int | None,
    everyone: bool,
    k: int,
    row: str | None,
    out: Path | None,
    memory: int,
    terminal: Terminal,
) -> None:
    """Recommend unseen items to one user, or to all.

    Fusion and alpha are those of the last `jaxrec eval`, or the published ones.
    """
    if (user is None) == (not everyone):
        raise click.UsageError("give --user ID, or --all with --out FILE")
    if everyone != (out is not None):
        raise click.UsageError("--all and --out FILE go together")
    opened = _open(run_path, data, protocol, seed, terminal)
    if out is not None:
        _recommend_all(opened, k, row, out, terminal, memory * 2**20)
    elif user is not None:
        _recommend_one(opened, user, k, row, terminal, memory * 2**20)


def _open(
    path: Path, data: str | None, protocol: str | None, seed: int | None, terminal: Terminal
) -> RunFolder:
    from jaxrec.run_folder import open_run

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
def _resumable_fit() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        _stop("interrupted; the same command goes on from here", 130)
    except FloatingPointError as error:
        _stop(f"{error}; try a larger --lambda", 1)


def _train(opened: RunFolder, settings: PmfSettings, terminal: Terminal) -> None:
    from jaxrec.steps import row_of, train_pmf

    what = f"{row_of(settings)}: {settings.likelihood} PMF, {settings.factors} factors"
    with _resumable_fit(), terminal.sweeps(what, settings.sweeps) as on_sweep:
        card = train_pmf(opened, settings, on_sweep)
    losses = card["losses"]
    terminal.say(f"{what}: objective {losses[-1]:.6g} after {len(losses)} sweeps")
    _tell_stale(opened, terminal)


def _embed(opened: RunFolder, model: str, terminal: Terminal, again: bool) -> None:
    try:
        from torch_embed.encode import embed_file, estimate_seconds
        from torch_embed.encoder import load_encoder, model_id, short_name
        from torch_embed.files import read_texts
    except ModuleNotFoundError as missing:
        line = f"embedding needs {missing.name}; pip install 'jaxrec[embed]'"
        if not again:
            terminal.say(f"{line}. Going on without text.")
            return
        _stop(line, 2)
    name = short_name(model)
    there = name in opened.embedding_names()
    if there and not again and opened.read_embeddings(name).card["model"] == model_id(model):
        terminal.say(f"{name}: embeddings are there already")
        return
    opened.write_texts()
    encoder = load_encoder(model)
    texts = read_texts(opened.texts_path).texts
    if encoder.model.device.type == "cpu":
        terminal.say(f"{name}: about {estimate_seconds(encoder, texts):.0f} s on this CPU")
    with terminal.count(f"{name}, {len(texts):,} texts", len(texts)) as on_batch:
        card = embed_file(encoder, opened.texts_path, opened.embeddings_path(name), on_batch)
    terminal.say(f"{name}: {card['items']:,} embeddings of {card['dim']} dimensions")
    opened.read_embeddings(name)
    _tell_stale(opened, terminal)


def _tell_stale(opened: RunFolder, terminal: Terminal) -> None:
    aside = opened.set_stale_results_aside()
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
) -> None:
    from jaxrec.files import write_json
    from jaxrec.scorecard import card_lines, table
    from jaxrec.steps import score_card

    ks = tuple(sorted(set(ks)))
    if fusion.alpha is None and "mf" in opened.factors_rows():
        _, factors_card = opened.read_factors("mf")
        what = "PMF on train without validation"
        with _resumable_fit(), terminal.sweeps(what, factors_card["sweeps"]) as on_sweep:
            results = score_card(opened, ks, fusion, on_sweep, memory)
    else:
        results = score_card(opened, ks, fusion, memory=memory)
    if json_path is not None:
        write_json(json_path, results)
    for line in card_lines(results["protocol"]):
        terminal.result(line)
    for k in ks:
        terminal.out.print(table(results["protocol"], results["rows"], k))
    for row in results["rows"]:
        if "absent" in row:
            terminal.result(f"{row['name']} is absent: {row['absent']}")
        if "alpha_curve" in row:
            terminal.result(f"{row['name']}: alpha {row['alpha']}, chosen on validation NDCG@25")


def _recommend_one(
    opened: RunFolder, user: int, k: int, row: str | None, terminal: Terminal, memory: int
) -> None:
    import numpy as np

    from jaxrec.steps import recommend

    dataset = opened.dataset
    (position,) = positions = dataset.user_positions([user])
    items, scores, how = recommend(opened, positions, k, row, memory)
    if dataset.synthetic:
        terminal.result("SYNTHETIC DATA made by jaxrec")
    terminal.result(f"User {user}, latest ratings:")
    train = dataset.ratings.at(opened.protocol.split.train)
    own = train.at(np.flatnonzero(train.users == position))
    for latest in np.argsort(-own.times, kind="stable")[:5]:
        title = dataset.titles[own.items[latest]]
        terminal.result(f"  {own.stars[latest]:.1f}  {title}")
    terminal.result(_how(how))
    for rank, (item, score) in enumerate(zip(items[0], scores[0], strict=True), start=1):
        if item >= 0:
            terminal.result(f"{rank:>4}  {score:8.4f}  {dataset.titles[item]}")


def _recommend_all(
    opened: RunFolder, k: int, row: str | None, out: Path, terminal: Terminal, memory: int
) -> None:
    from jaxrec.files import whole_file
    from jaxrec.steps import recommend_all

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


def _alpha(given: str) -> float | None:
    if given == "grid":
        return None
    try:
        alpha = float(given)
    except ValueError:
        alpha = -1.0
    if not 0 <= alpha <= 1:
        raise click.BadParameter(f"{given!r} is neither a number from 0 to 1 nor `grid`")
    return alpha


if __name__ == "__main__":
    main()
