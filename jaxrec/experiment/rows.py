"""Which rows a score card has, and what each is made of."""

from typing import NamedTuple

from jaxrec.errors import InputError
from jaxrec.experiment.folder import RunFolder
from jaxrec.models.registry import MODELS

LABELS = {
    "minilm": "MiniLM base",
    "minilm-ft": "MiniLM fine-tuned",
    "qwen3-4b": "Qwen3-4B base",
    "qwen3-4b-ft": "Qwen3-4B fine-tuned (NF4 LoRA)",
}
"""Embeddings of the published table, in its order."""


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


def rows_with(embeddings: list[str], published: bool = True, whole: bool = False) -> list[Row]:
    """The published rows in their order, then those that are learned.

    Args:
        embeddings: names of those that are there.
        published: are there published rows? The published program takes stars, and has no factors
            for whom or what is cold.
        whole: all rows of the published table, whatever is there, and each embedding alone.
    """
    rows = []
    if published:
        rows = [Row("mf", "MF only", "mf")]
        table = LABELS if whole else embeddings
        for name in [*table, *(name for name in embeddings if name not in table)]:
            label = LABELS.get(name, name)
            rows.append(Row(f"mf+{name}", f"MF + {label}", "mf", name))
            if name in embeddings and whole:
                rows.append(Row(f"text+{name}", f"{label} alone", None, name))
    for name, model in MODELS.items():
        rows.append(Row(name, model.label, "pmf" if name == "pmf" else None, None, name != "pmf"))
    return [*rows, Row("hybrid", "learned fusion", None, None, True)]


def rows_of(run: RunFolder, only: tuple[str, ...] = ()) -> list[Row]:
    """The rows of this run's score card, or those named; InputError for a name that is none."""
    rules = run.protocol.rules
    published = rules.published_rows and run.dataset.feedback.kind == "stars"
    rows = rows_with(run.embedding_names(), published=published, whole=rules.as_published)
    names = [row.name for row in rows]
    for name in only:
        if name not in names:
            raise InputError(f"no row {name!r}; there are {', '.join(names)}")
    return [row for row in rows if not only or row.name in only]


def reads_texts(rows: list[Row]) -> bool:
    """Does any of them learn from the embeddings that were chosen?"""
    return any(row.learned and (row.name not in MODELS or MODELS[row.name].text) for row in rows)


def lacking(run: RunFolder, row: Row) -> str | None:
    """What would make a row that cannot be made yet."""
    if row.embeddings is not None and row.embeddings not in run.embedding_names():
        return _embed_command(run, row.embeddings)
    if row.factors is not None and row.factors not in run.factors_rows():
        return run.factors_command(row.factors)
    if row.learned and row.name in MODELS and (package := MODELS[row.name].lacks) is not None:
        return f"pip install {package}"
    return None


def _embed_command(run: RunFolder, name: str) -> str:
    model = name.removesuffix("-ft")
    return f"jaxrec embed --run {run.path} --model {model}" + (
        "" if model == name else " --finetune --preset published"
    )
