"""Options that several commands share, or that come in dozens."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from jaxrec.console import completion
from jaxrec.console.outputs import Output

LONGEST = 10_000
"""A list to be measured: many users' longer ones fit no memory."""

cutoffs = click.option(
    "-k",
    "ks",
    type=click.IntRange(1, LONGEST),
    multiple=True,
    default=(25,),
    show_default=True,
    help="Cut-off; may be given several times.",
)


memory_option = click.option(
    "--memory",
    type=click.IntRange(min=1),
    help="MiB that the arrays of a row may take.  [default: a quarter of the machine]",
)


def budget_options(command: Callable[..., None]) -> Callable[..., None]:
    """What may be spent."""
    minutes = click.option(
        "--budget",
        "minutes",
        type=click.FloatRange(min=0, min_open=True),
        callback=_finite,
        help="Minutes; rows that would not be done by then are left out.",
    )
    return _with([memory_option, minutes], command)


rows_option = click.option(
    "--row",
    "only",
    multiple=True,
    shell_complete=completion.rows,
    help="Only this row; may be given several times.  [default: all but `slim`, `add-ease` and"
    " `l3ae`]",
)


model_option = click.option(
    "--model",
    default="minilm",
    show_default=True,
    shell_complete=completion.models,
    help="minilm, qwen3-0.6b, qwen3-4b, qwen3-8b, a hub id or a local folder.",
)


def json_option(what: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """`--json FILE`, which also gets `what`."""
    kind, says = Output(".json"), f"Also write {what} here."
    return click.option("--json", "json_path", type=kind, help=says)


def grid_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options of a run of everything, once or for several splits."""
    positive: dict[str, Any] = {"type": click.IntRange(min=1)}
    options = [
        click.option("--seeds", help="So many splits, a run folder each, a summary.", **positive),
        click.option("--inits", default=1, help="Initialisations of each split.", **positive),
        click.option("--finetune", is_flag=True, help="Fine-tune the encoder first."),
        click.option(
            "--trials",
            type=click.IntRange(min=0),
            help="Trials in the search of each row's settings, 0 for none.  [default: as many as"
            " take about as long as the card]",
        ),
    ]
    return _with(options, command)


track_option = click.option(
    "--track",
    type=click.Choice(["mlflow", "tensorboard", "wandb"]),
    help="Tell settings, figures, curves and files to a tracker, when all is done.",
)


def eval_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options of measuring: the fusion of the published rows, what else is made of the lists."""
    options = [
        click.option(
            "--fusion",
            type=click.Choice(["published", "sigmoid-cosine"]),
            default="published",
            show_default=True,
            help="How the rows mf+NAME (of protocol published) fuse the two scores.",
        ),
        click.option(
            "--alpha",
            default="0.85",
            show_default=True,
            help="Weight of the collaborative branch in the rows mf+NAME, 0 to 1, or `grid` to"
            " choose it on validation.",
        ),
        click.option(
            "--plot",
            "plot_path",
            type=Output(".png", ".pdf", ".svg"),
            help="Draw the rows at the largest cut-off (PNG, PDF, SVG).",
        ),
        click.option(
            "--metrics-as",
            "library",
            type=click.Choice(["cornac", "implicit", "lenskit", "rectools", "ranx"]),
            help="Print the same lists by that library's definitions of its metrics, too.",
        ),
    ]
    return _with(options, command)


file: dict[str, Any] = {"type": click.Path(dir_okay=False, exists=True, path_type=Path)}
folder: dict[str, Any] = {"type": click.Path(file_okay=False, path_type=Path)}


def report_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options of a report: on what, and where to."""
    options = [
        click.option(
            "--run",
            "runs",
            multiple=True,
            required=True,
            help="Run folder, or folder of `jaxrec run --seeds`; run folders may be several.",
            **folder,
        ),
        click.option(
            "--out",
            default="report.html",
            show_default=True,
            type=Output(".html"),
            help="The page.",
        ),
        click.option("--figures", help="Folder that gets its figures as SVG and PNG.", **folder),
    ]
    return _with(options, command)


row_option = click.option(
    "--row",
    shell_complete=completion.rows,
    help="Row of the experiment's score card.  [default: hybrid, or the best where that was not"
    " measured]",
)


list_length = click.option("-k", "k", type=click.IntRange(min=1), default=10, show_default=True)


fitted_option = click.option(
    "--model",
    "model",
    help="Serve by a model that `jaxrec fit` made, not by an experiment.",
    **folder,
)


the_model_option = click.option(
    "--model", "model", required=True, help="Folder that `jaxrec fit` made.", **folder
)


OF_EXPERIMENT = (
    "--run", "--data", "--strict-input", "--core", "--protocol", "--seed", "--row",
    "--as-evaluated",
)  # fmt: skip
"""Options that mean nothing to a model."""


def fit_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options of fitting on everything: which row, and where to."""
    options = [
        click.option(
            "--out", required=True, help="Folder of the model; one is replaced.", **folder
        ),
        click.option(
            "--row",
            shell_complete=completion.rows,
            help="Row of the score card.  [default: hybrid]",
        ),
        click.option(
            "--segments",
            help="Table of users and the segment (country, say) of each: what its members like is"
            " shown to those of whom nothing else is known, where validation prefers it.",
            **file,
        ),
    ]
    return _with(options, command)


def recommend_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options of recommending: to whom, how many, by which row, of what."""
    options = [
        fitted_option,
        click.option("--user", help="Id of the user to serve."),
        click.option(
            "--liked",
            multiple=True,
            help="Serve somebody new, who likes this item (id or title); may be given several"
            " times.",
        ),
        click.option("--all", "everyone", is_flag=True, help="Serve every user; needs --out."),
        list_length,
        row_option,
        click.option(
            "--out",
            type=Output(".csv", ".parquet", ".jsonl"),
            help="With --all: file of user_id, rank, item_id, title, score, by its suffix.",
        ),
        click.option("--only", help="Table of the items that may be listed.", **file),
        click.option(
            "--exclude", help="Table of items that may not, or of pairs of user and item.", **file
        ),
        click.option(
            "--interactions",
            help="Table of what users, known or new, have done since the model was fitted.",
            **file,
        ),
        click.option("--segment", help="Of somebody of whom nothing else is known."),
        click.option(
            "--explain",
            is_flag=True,
            help="Under each item of a list the signal and the user's items that say most for it.",
        ),
        click.option(
            "--as-evaluated",
            is_flag=True,
            help="The lists that an experiment measured: they may name what was held out.",
        ),
    ]
    return _with(options, command)


def explain_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options of explaining: by what, to whom, which item."""
    options = [
        fitted_option,
        click.option("--user", help="Id of the user."),
        click.option(
            "--liked",
            multiple=True,
            help="Instead of --user: somebody new, who likes this item (id or title); may be given"
            " several times.",
        ),
        click.option("--item", required=True, help="Id or title of the item to explain."),
        click.option(
            "-k",
            "k",
            type=click.IntRange(min=1),
            default=10,
            show_default=True,
            help="So many of the user's items are shown.",
        ),
        row_option,
        click.option(
            "--interactions",
            help="Table of what users, known or new, have done since the model was fitted.",
            **file,
        ),
        json_option("all parts"),
        memory_option,
    ]
    return _with(options, command)


def export_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options of taking vectors elsewhere."""
    options = [
        the_model_option,
        click.option("--to", required=True, help="Folder of what is exported.", **folder),
        click.option(
            "--format",
            "form",
            type=click.Choice(["parquet", "npz", "faiss", "usearch"]),
            required=True,
            help="Tables, arrays, or an index of the items besides.",
        ),
    ]
    return _with(options, command)


def serve_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options of answering over HTTP."""
    options = [
        the_model_option,
        click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen."),
        click.option(
            "--port",
            type=click.IntRange(0, 65535),
            default=8000,
            show_default=True,
            help="0 takes one that is free.",
        ),
        click.option("--token", envvar="JAXREC_TOKEN", hidden=True),  # a command line is no secret
        click.option("--token-file", help="What the requests' Bearer token must be.", **file),
        click.option(
            "--rate",
            type=click.IntRange(min=1),
            default=100,
            show_default=True,
            help="Requests of a client in a second.",
        ),
    ]
    return _with(options, command)


def columns_of(context: click.Context, option: click.Parameter, value: str) -> dict[str, str]:
    """`user=NAME,item=NAME` as a dictionary; BadParameter if it is something else."""
    pairs = [pair.partition("=") for pair in filter(None, (value or "").split(","))]
    for role, sign, name in pairs:
        if not (role.strip() and sign and name.strip()):
            raise click.BadParameter(f"{value!r} is not ROLE=COLUMN,ROLE=COLUMN")
    return {role.strip(): name.strip() for role, _, name in pairs}


def inspect_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options of looking at data: what of them is known, and where to write what is found."""
    table = click.Path(dir_okay=False, path_type=Path)
    options = [
        click.argument("path", type=click.Path(path_type=Path)),
        click.option("--items", type=table, help="Table of the items."),
        click.option(
            "--columns",
            metavar="ROLE=NAME,...",
            callback=columns_of,
            help="Columns of user, item, value and time.  [default: guessed]",
        ),
        click.option("--text", help='Item texts, as in "{title} by {author}".  [default: guessed]'),
        click.option(
            "--out",
            default="dataset.toml",
            show_default=True,
            type=Output(".toml"),
            help="Where to write the description; one that is there is kept.",
        ),
        click.option("--force", is_flag=True, help="Write over a description that is there."),
    ]
    return _with(options, command)


def shard_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options of cutting data by user: what, where to, into how many parts."""
    options = [
        click.option(
            "--data",
            required=True,
            shell_complete=completion.data_sets,
            help="Name, dataset.toml, folder or table of the data set.",
        ),
        click.option("--out", required=True, help="Folder of the parts; made.", **folder),
        click.option(
            "--parts",
            required=True,
            type=click.IntRange(min=1),
            help="How many; at least as many as processes are to read them.",
        ),
    ]
    return _with(options, command)


fast_option = click.option(
    "--fast",
    is_flag=True,
    help="Encode in bfloat16 where the processor has it, else in int8.",
)


LOADING = ("dim", "nf4", "dtype", "prompt", "long")
"""What `loading_options` ask."""


def loading_options(command: Callable[..., None]) -> Callable[..., None]:
    """How an encoder is loaded."""
    options = [
        click.option(
            "--dim", type=click.IntRange(min=1), help="Keep the first so many dimensions."
        ),
        click.option(
            "--nf4/--no-nf4",
            default=None,
            help="Load the model in 4 bits.  [default: when fine-tuning Qwen3]",
        ),
        click.option(
            "--dtype",
            type=click.Choice(["float32", "bfloat16", "int8"]),
            help="Compute in; in int8 a BERT's matrix products on a CPU.  [default: the model's;"
            " fine-tuning bfloat16 on a GPU]",
        ),
        fast_option,
        click.option(
            "--prompt",
            help="Put before every text, '' for nothing.  [default: what the model has for"
            " documents]",
        ),
        click.option(
            "--long",
            type=click.Choice(["cut", "mean"]),
            help="Of texts longer than the encoder reads: their beginning, or the mean of windows,"
            " by their tokens.  [default: cut]",
        ),
    ]
    return _with(options, command)


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
            type=click.Choice(["liked", "graded"]),
            help="What all-pairs learns: what is liked, or everything by its stars or count."
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
            " its factors make the rows mf of protocol published).  [default: alternating]",
        ),
        click.option("--float64", is_flag=True, default=None, help="Compute in double precision."),
    ]
    return _with(options, command)


def finetune_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options of a fine-tuning; unset ones are the preset's."""
    positive: dict[str, Any] = {"type": click.IntRange(min=1)}
    number: dict[str, Any] = {"type": click.FloatRange(min=0), "callback": _finite}
    options = [
        click.option("--finetune", is_flag=True, help="Learn from who liked what."),
        click.option(
            "--preset",
            type=click.Choice(["best", "published"]),
            help="Settings to start from.  [default: best]",
        ),
        click.option(
            "--loss",
            type=click.Choice(["info-nce", "contrastive", "triplet", "alignment"]),
            help="Contrastive losses, or regression of the PMF factors.",
        ),
        click.option(
            "--draw",
            help="Another draw of dropout and order, kept beside the others.  [default: 1]",
            **positive,
        ),
        click.option("--epochs", help="At most so many passes.", **positive),
        click.option("--batch", help="Examples of a step.", **positive),
        click.option("--rate", help="Learning rate.", **number),
        click.option("--folds", help="Models for cross-fitting; 1 for none.", **positive),
        click.option("--temperature", type=click.FloatRange(0, min_open=True), help="Of info-nce."),
        click.option("--symmetric", is_flag=True, default=None, help="info-nce both ways."),
        click.option("--margin", help="Of contrastive and triplet.", **number),
        click.option(
            "--tag-dropout", type=click.FloatRange(0, 1), help="Share of texts read without tags."
        ),
        click.option("--pairs", "per_user", help="Training pairs of a user.", **positive),
        click.option("--popularity", help="Draw often liked items less by this power.", **number),
        click.option(
            "--lora/--full",
            default=None,
            help="Train adapters or all weights.  [default: adapters with --nf4]",
        ),
        click.option(
            "--lora-module",
            "modules",
            multiple=True,
            help="Attention projection to adapt; may be given several times."
            "  [default: queries and values]",
        ),
        click.option("--micro-tokens", help="Padded tokens held in memory at once.", **positive),
        click.option("--checkpoint-every", help="Steps between checkpoints.", **positive),
    ]
    return _with(options, command)


def refuse_without_finetune(options: dict[str, Any]) -> None:
    """Options of a fine-tuning ask for one; a UsageError names the first that was given."""
    given = [name for name, value in options.items() if value not in (None, ())]
    if given:
        option = {"modules": "lora-module", "per_user": "pairs"}.get(given[0], given[0])
        raise click.UsageError(f"--{option.replace('_', '-')} needs --finetune")


def given() -> list[str]:
    """The options that stand on the command line."""
    context = click.get_current_context()
    return [
        option.opts[0]
        for option in context.command.params
        if context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
    ]


def refuse_of_other_source(*of_model: str) -> None:
    """Refuse options of experiments beside --model, and those of models without it.

    Args:
        of_model: options that only models have.
    """
    on_line = given()
    by_model = "--model" in on_line
    wrong = [name for name in on_line if name in (OF_EXPERIMENT if by_model else of_model)]
    if wrong:
        raise click.UsageError(f"{wrong[0]} {'is not for' if by_model else 'needs'} --model")


def alpha_of(given: str) -> float | None:
    """A weight from 0 to 1; None to choose it on validation."""
    if given == "grid":
        return None
    try:
        alpha = float(given)
    except ValueError:
        alpha = -1.0
    if not 0 <= alpha <= 1:
        raise click.BadParameter(f"{given!r} is neither a number from 0 to 1 nor `grid`")
    return alpha


def _finite(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number")
    return value


def _with(options: list[Any], command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(options):
        command = option(command)
    return command
