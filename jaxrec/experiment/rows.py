"""Which rows a score card has, what each is made of, and what it takes."""

from collections.abc import Collection
from types import NoneType
from typing import Any, NamedTuple

from jaxrec.border.draws import Taught
from jaxrec.budget import Cost
from jaxrec.errors import InputError
from jaxrec.experiment.folder import RunFolder
from jaxrec.files import read_sealed
from jaxrec.models.cost import Settings, fusion, pmf, ranking, sequential
from jaxrec.models.factorization import pmf_settings
from jaxrec.models.registry import MODELS
from jaxrec.pmf.objective import PmfSettings

LABELS = {
    "minilm": "MiniLM base",
    "minilm-ft": "MiniLM fine-tuned",
    "qwen3-4b": "Qwen3-4B base",
    "qwen3-4b-ft": "Qwen3-4B fine-tuned (NF4 LoRA)",
}
"""Embeddings of the published table, in its order."""


SIGNALS = (
    ("pmf+text", "pmf"),
    (
        "ease-graded+text",
        "ease+text",
        "sparse-ease+text",
        "ease-graded",
        "ease",
        "sparse-ease",
    ),
    ("text",),
    ("set",),
    ("ease+text", "ease"),
    ("rp3beta",),
)
"""What `hybrid` fuses: of each of these the first that can be made, once. The first have the first
claim to memory."""


class Row(NamedTuple):
    """One line of the score card."""

    name: str
    """`mf`, `mf+NAME`, `text+NAME`, a row that learns, or `hybrid`."""
    label: str
    factors: str | None = None
    """Whose factors it needs, if any: `mf` or `pmf`."""
    embeddings: str | None = None
    """Which embeddings it needs, if any."""
    learned: bool = False
    """Does it learn, from evidence (`jaxrec.models`)?"""


def rows_with(embeddings: list[str], published: bool = False) -> list[Row]:
    """The published rows in their order, then those that are learned.

    Args:
        embeddings: names of those that are there.
        published: are the rows of the published table wanted, whatever is there, and each embedding
            alone?
    """
    rows = []
    if published:
        rows = [Row("mf", "MF only", "mf")]
        for name in [*LABELS, *(name for name in embeddings if name not in LABELS)]:
            label = _label(name)
            rows.append(Row(f"mf+{name}", f"MF + {label}", "mf", name))
            if name in embeddings:
                rows.append(Row(f"text+{name}", f"{label} alone", None, name))
    for name, model in MODELS.items():
        rows.append(Row(name, model.label, "pmf" if name == "pmf" else None, None, name != "pmf"))
    return [*rows, Row("hybrid", "learned fusion", None, None, True)]


def _label(embeddings: str) -> str:
    """Of embeddings: as published, and which draw of it, or their name."""
    taught = Taught.read(embeddings)
    if embeddings in LABELS or taught is None or taught.draw == 1:
        return LABELS.get(embeddings, embeddings)
    return f"{_label(Taught(taught.base).name)}, draw {taught.draw}"


def rows_of(run: RunFolder, only: tuple[str, ...] = ()) -> list[Row]:
    """The rows of this run's score card, or those named; InputError for a name that is none.

    Published rows belong to the protocol `published`; elsewhere they are there if they are named,
    and so is everywhere what is `Model.named_only`.
    """
    named = any(map(_is_published, only))
    rows = rows_with(run.embedding_names(), run.protocol.rules.as_published or named)
    names = [row.name for row in rows]
    if not only:
        return [row for row in rows if not _needless(run, row.name)]
    refuse_strangers(run, only)
    for name in only:
        if name not in names:
            raise InputError(f"no row {name!r}; there are {', '.join(names)}")
    return [row for row in rows if row.name in only]


def check_names(run: RunFolder, only: tuple[str, ...]) -> None:
    """Raise InputError for a name that is no row, whatever may be embedded later."""
    refuse_strangers(run, only)
    rows_of(run, tuple(name for name in only if not _is_published(name)))


def refuse_strangers(run: RunFolder, only: tuple[str, ...]) -> None:
    """Raise InputError for a published row where users or items are new: it knows nobody new."""
    cold = run.protocol.rules.cold_items or len(run.protocol.split.given) > 0
    for name in filter(_is_published, only):
        if cold and not run.protocol.rules.as_published:
            raise InputError(
                f"row {name!r} is of the published table and knows nobody new, and {run.path} is of"
                f" protocol {run.protocol.name}; give --protocol published with another --run"
            )


def _is_published(name: str) -> bool:
    """Is this the name of a published row, or of an embedding alone beside them?"""
    return name == "mf" or name.startswith(("mf+", "text+"))


def settings_of(run: RunFolder, row: str) -> Settings:
    """Those `jaxrec tune` found in this run folder, else the defaults.

    Raises:
        InputError: they were tuned on other data or another split, and so perhaps on what is held
            out here; or they are damaged, or not the row's, as those of another version.
    """
    path, defaults = run.tuned_path(row), MODELS[row].settings
    if not path.exists():
        return defaults
    again = f"remove it, and `{run.command('tune', '--row', row)}` makes it again"
    tuned, own = read_sealed(path, again, {"settings": dict}), run.identity()
    if not isinstance(tuned.get("made_from", {}), dict):
        raise InputError(f"{path}: damaged, made_from is not what it must be; {again}")
    if any(own.get(key, value) != value for key, value in tuned.get("made_from", {}).items()):
        raise InputError(f"{path} was tuned on another split or other data; remove it")
    if strange := set(tuned["settings"]) - set(defaults):
        raise InputError(
            f"{path} has settings that {row} has not ({', '.join(sorted(strange))}), as of another"
            " version; remove it"
        )
    for name, value in tuned["settings"].items():
        if not _suits(value, defaults[name]):
            raise InputError(f"{path}: {name} cannot be {value!r}; {again}")
    return defaults | tuned["settings"]


def _suits(value: Any, default: Any) -> bool:
    """Is a value, read from JSON, of the kind of a default? None stands for a number."""
    numbers = (int, float, NoneType)
    if isinstance(default, numbers) and not isinstance(default, bool):
        return isinstance(value, numbers) and not isinstance(value, bool)
    return isinstance(value, type(default))


def pmf_settings_of(run: RunFolder, row: str = "pmf", density: float | None = None) -> PmfSettings:
    """What a row fits PMF with: what was tuned in this run folder, else the defaults.

    `density` is the share of all pairs that is learned from, where the run has a part of them only.
    """
    return pmf_settings(settings_of(run, row), run.size.density if density is None else density)


def cost_of(run: RunFolder, name: str, made: Collection[str] = ()) -> Cost:
    """What a row takes, about: learned, unless it is kept, and asked.

    Args:
        run: the experiment.
        name: of the row. What `hybrid` fuses is learned of the train part, and once more, or of
            each fold, for the fusion; it is held at once.
        made: rows that will be kept by then.
    """
    size = run.size
    if name in MODELS:
        kept = name in made or _kept(run, name)
        cost = _whole_cost(run, name)
        return cost._replace(learning=0.0) if kept else cost
    if name != "hybrid":
        wide = 100 + size.features
        return Cost(16.0 * wide * (size.users + size.items), 0.0, 3 * ranking(size))
    rows, rules = signals_of(run).rows, run.protocol.rules
    each = [cost_of(run, of, made) for of in rows]
    times = 0 if run.hybrid_path.exists() else rules.folds + 1 if rules.cold_items else 1
    again = times * sum(_whole_cost(run, of).learning for of in rows)
    return Cost(
        memory=sum(cost.memory for cost in each),
        learning=sum(cost.learning for cost in each) + again + fusion(size),
        asking=sum(cost.asking for cost in each),
    )


def _kept(run: RunFolder, name: str) -> bool:
    return (run.factors_path("pmf") if name == "pmf" else run.model_path(name)).exists()


def _whole_cost(run: RunFolder, name: str) -> Cost:
    """Of a row that learns, kept or not."""
    return MODELS[name].cost(run.size, _likely_settings(run, name))


def factors_cost(run: RunFolder, settings: PmfSettings) -> Cost:
    """What fitting the factors of row `mf` or `pmf` takes, about; nobody is asked yet."""
    fit = sequential if settings.solver == "sequential" else pmf
    return fit(run.size, settings._asdict())._replace(asking=0.0)


def _likely_settings(run: RunFolder, name: str) -> Settings:
    """`settings_of`; the defaults where they cannot be read, of which whoever fits it will tell."""
    try:
        return settings_of(run, name)
    except InputError:
        return MODELS[name].settings


def too_much(run: RunFolder, name: str, beside: float = 0.0) -> str | None:
    """Why a row that learns does not fit the budget of this run, if so, whatever is kept.

    Args:
        run: whose budget.
        name: of the row.
        beside: bytes that are held at the same time.
    """
    cost = _whole_cost(run, name)
    if (why := run.budget.too_large(cost._replace(memory=cost.memory + beside))) is not None:
        return why
    return run.budget.too_long(cost) if cost.seconds > run.budget.seconds else None


class Signals(NamedTuple):
    """What `hybrid` fuses in a run."""

    rows: tuple[str, ...]
    left_out: dict[str, str]
    """Better ones that do not fit the budget, and why."""


def signals_of(
    run: RunFolder, left_out: dict[str, str] | None = None, embedded: bool = False
) -> Signals:
    """Of each of `SIGNALS` the first that can be made of these data and fits the budget.

    Args:
        run: the experiment.
        left_out: what did not fit when the fusion was learned, in place of what does not fit now.
        embedded: suppose that texts have embeddings, as when some are judged that are not kept yet.
    """
    chosen, lost, held = [], {}, 0.0
    for candidates in SIGNALS:
        for name in candidates:
            if name in chosen:
                break
            row = Row(name, MODELS[name].label, None, None, True)
            if pointless(run, row, embedded) is not None or MODELS[name].lacks is not None:
                continue
            why = too_much(run, name, held) if left_out is None else left_out.get(name)
            if why is None:
                chosen.append(name)
                held += _whole_cost(run, name).memory
                break
            lost[name] = why
    return Signals(tuple(chosen), lost)


def reads_texts(rows: list[Row]) -> bool:
    """Does any of them learn from the embeddings that were chosen?"""
    return any(row.learned and (row.name not in MODELS or MODELS[row.name].text) for row in rows)


def _needless(run: RunFolder, name: str) -> bool:
    """Is it to be named, or does it take the place of rows that all have theirs?"""
    if name in MODELS and MODELS[name].named_only:
        return True
    instead = MODELS[name].in_place_of if name in MODELS else ()
    possible = [other for other in instead if _repeated(run, other) is None]
    return bool(instead) and all(too_much(run, other) is None for other in possible)


def lacking(run: RunFolder, row: Row) -> str | None:
    """What would make a row that cannot be made yet, or why nothing does."""
    if (why := pointless(run, row)) is not None:
        return why
    if row.embeddings is not None and row.embeddings not in run.embedding_names():
        command = run.embed_command(row.embeddings, run.kinds_of_texts[0])
        honest = row.embeddings in run.embedding_names("honest")
        return (
            f"it reads the published texts, not the honest ones: {command}" if honest else command
        )
    if row.factors is not None and row.factors not in run.factors_rows():
        return run.factors_command(row.factors)
    if row.learned and row.name in MODELS and (package := MODELS[row.name].lacks) is not None:
        return f"pip install {package}"
    return too_much(run, row.name) if row.name in MODELS else None


def unread(run: RunFolder, name: str, kind: str) -> str | None:
    """Which rows do not read the embeddings of one kind of texts, where those they read are absent.

    Further draws are made for the spread of the rows that read them, and nothing is said.

    Args:
        run: where they are.
        name: of the embeddings.
        kind: one of `run.kinds_of_texts`.
    """
    taught = Taught.read(name)
    if taught is not None and taught.draw > 1:
        return None
    for other in run.kinds_of_texts:
        if other != kind and name not in run.embedding_names(other):
            rows = f"mf+{name} and text+{name}" if other == "published" else "that learn"
            command = run.embed_command(name, other)
            return f"{name}: rows {rows} read embeddings of the {other} texts; run `{command}` too"
    return None


def unchosen(run: RunFolder, name: str) -> str | None:
    """Which other embeddings may be read in place of these, if there are any."""
    others = [other for other in run.embedding_names("honest") if other != name]
    if not others:
        return None
    return (
        f"{name}: rows that learn read these embeddings or those of {', '.join(others)}, whichever"
        f" validation prefers; `{run.command('eval')}` says which"
    )


def unread_factors(run: RunFolder, card: dict[str, Any]) -> str | None:
    """Which rows do not read factors that were fitted as this card says, where one may think so."""
    if card["solver"] == "sequential":
        if run.protocol.rules.as_published:
            return None
        named = run.command("eval", "--row", "mf")
        return f"mf: of protocol {run.protocol.name} only rows that are named read these: `{named}`"
    if not card["asked"]:
        return None
    return (
        "pmf: row pmf alone reads these factors; other rows fit theirs by tuned or default settings"
    )


def pointless(run: RunFolder, row: Row, embedded: bool = False) -> str | None:
    """Why these data give a row nothing to learn from that others do not have, if so.

    With `embedded` it lacks no embeddings, whatever is there.
    """
    return _unreadable(run, row, embedded) or _repeated(run, row.name)


def _unreadable(run: RunFolder, row: Row, embedded: bool) -> str | None:
    """Why a row that reads what is written of the items has nothing to read, if so."""
    learned = reads_texts([row])
    if (not learned and row.embeddings is None) or (learned and run.metadata_differ):
        return None
    texts = run.written["honest" if learned else run.kinds_of_texts[0]]
    if row.name == "hybrid" and len(texts) == 1:
        return None  # it fuses what reads none
    if texts == {run.dataset.catalogue.nameless}:
        return "no item has a text; give items a title, or take rows that read none"
    if len(texts) == 1:
        return "all items have the same text; take rows that read none"
    if learned and not embedded and not run.embedding_names("honest"):
        return run.embed_command("minilm", "honest")
    return None


def _repeated(run: RunFolder, name: str) -> str | None:
    """Why a row that learns would be another one again on this feedback, if so."""
    same = MODELS[name].ungraded if name in MODELS else None
    kind = run.dataset.feedback.kind
    if same is None or run.dataset.feedback.has_grades:
        return None
    return f"{kind} have no grades: it would be {same} again"
