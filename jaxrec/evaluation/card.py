"""The score card, typed and versioned: the same in memory and in `results.json`.

A figure that nobody has is NaN here and null in JSON, which has no NaN; numbers that are keys are
text there. Whatever shows or compares figures reads them from here, never from the JSON.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isnan, nan
from pathlib import Path
from shlex import quote
from statistics import fmean, stdev
from typing import Any, Self

from jaxrec.errors import InputError
from jaxrec.files import check_seal, file_sha256, read_json, sealed, whole_file, write_json

VERSION = 3
"""Of what `ScoreCard.to_json` makes; raised whenever an older reader would misread it."""

Numbers = dict[str, float]
"""By name, `metric@K` mostly."""
Interval = tuple[float, float]
Curve = tuple[tuple[float, float], ...]
"""Validation NDCG@25 by alpha, the weight of the collaborative branch."""


@dataclass(frozen=True)
class Figures:
    """What a row's lists are worth to some users, or on some items."""

    metrics: Numbers
    """Means over the users, `coverage@K`, and `hits@K`, their number over all users."""
    ci95: dict[str, Interval]
    """95 % intervals by bootstrap over the users, of the means."""
    p_vs_pmf: Numbers | None = None
    """p that a mean is that of row `pmf`; None without such a row."""

    def to_json(self) -> dict[str, Any]:
        """JSON."""
        found: dict[str, Any] = {"metrics": self.metrics, "ci95": self.ci95}
        return found if self.p_vs_pmf is None else found | {"p_vs_pmf": self.p_vs_pmf}

    @classmethod
    def from_json(cls, json: dict[str, Any]) -> Self:
        """What `to_json` was made of."""
        p = json.get("p_vs_pmf")
        intervals = {name: _interval(bounds) for name, bounds in json["ci95"].items()}
        return cls(_numbers(json["metrics"]), intervals, None if p is None else _numbers(p))


@dataclass(frozen=True)
class RowCard:
    """A row that was measured."""

    name: str
    label: str
    users: int
    """Evaluated."""
    hits: int
    """Relevant items found within the largest cut-off, over all users."""
    figures: Figures
    by_item_third: dict[str, Figures]
    """`head`, `middle`, `tail`: only hits on these items count."""
    by_user_third: dict[str, Figures]
    """`fewest`, `some`, `most` interactions."""
    tied_share: float
    """Of the lists to the largest cut-off those in which equal scores have a part: an item on the
    list has exactly the score of another one on it, or of one left out."""
    gains: dict[str, Numbers] = field(default_factory=dict)
    """Relative, over the rows `mf` and `pmf` where they were measured."""
    settings: dict[str, Any] | None = None
    """Of a learned row."""
    fusion: str | None = None
    alpha: float | None = None
    """Weight of the collaborative branch in a fusion that has one."""
    alpha_curve: Curve = ()
    """What alpha was chosen by, if it was."""
    metrics_as: dict[str, dict[int, Numbers]] = field(default_factory=dict)
    """The same lists by another library's definitions: library, cut-off, its metric."""
    all_unseen: Numbers = field(default_factory=dict)
    """Of a fold of cold items: the same row with every unseen item a candidate."""
    beyond_accuracy: Numbers = field(default_factory=dict)
    """What its lists are beside their hits: `novelty@K`, `popularity@K`, `gini@K`, `diversity@K`
    where items have embeddings, `miscalibration@K` where they have categories."""

    def to_json(self) -> dict[str, Any]:
        """JSON: the figures beside the name, and only what there is of the rest."""
        found: dict[str, Any] = {"name": self.name, "label": self.label}
        found |= {"users": self.users, "hits": self.hits, "tied_share": self.tied_share}
        found |= self.figures.to_json()
        for kind in ("by_item_third", "by_user_third"):
            thirds: dict[str, Figures] = getattr(self, kind)
            found[kind] = {third: figures.to_json() for third, figures in thirds.items()}
        found |= {f"gain_over_{row}": gain for row, gain in self.gains.items()}
        for name in ("settings", "fusion", "alpha"):
            if (value := getattr(self, name)) is not None:
                found[name] = value
        for name in ("alpha_curve", "metrics_as", "all_unseen", "beyond_accuracy"):
            if value := getattr(self, name):
                found[name] = value
        return found

    @classmethod
    def from_json(cls, json: dict[str, Any]) -> Self:
        """What `to_json` was made of."""
        return cls(
            name=str(json["name"]),
            label=str(json["label"]),
            users=int(json["users"]),
            hits=int(json["hits"]),
            figures=Figures.from_json(json),
            by_item_third=_each(Figures.from_json, json["by_item_third"]),
            by_user_third=_each(Figures.from_json, json["by_user_third"]),
            tied_share=_number(json["tied_share"]),
            gains={
                key.removeprefix("gain_over_"): _numbers(gain)
                for key, gain in json.items()
                if key.startswith("gain_over_")
            },
            settings=json.get("settings"),
            fusion=json.get("fusion"),
            alpha=json.get("alpha"),
            alpha_curve=_curve(json.get("alpha_curve", ())),
            metrics_as={
                library: {int(k): _numbers(figures) for k, figures in by_k.items()}
                for library, by_k in json.get("metrics_as", {}).items()
            },
            all_unseen=_numbers(json.get("all_unseen", {})),
            beyond_accuracy=_numbers(json.get("beyond_accuracy", {})),
        )


@dataclass(frozen=True)
class AbsentRow:
    """A row without figures."""

    name: str
    label: str
    why: str
    """The command that would make it, or why none can."""

    def to_json(self) -> dict[str, Any]:
        """JSON."""
        return {"name": self.name, "label": self.label, "absent": self.why}


@dataclass(frozen=True)
class Comparison:
    """How a row stands against another in one metric."""

    difference: float
    """Of the means."""
    relative: float
    """Ratio of the means less 1; NaN where the other's is 0."""
    ci95: Interval
    """Of the difference."""
    p: float
    """p that the difference is 0."""
    p_holm: float
    """The same corrected over one family: all figures and rows compared."""
    by_split: tuple[float, ...]
    """The difference in each of the splits."""

    @property
    def range(self) -> Interval:
        """The least and the greatest difference in a split."""
        known = [difference for difference in self.by_split if not isnan(difference)]
        return min(known, default=nan), max(known, default=nan)

    @classmethod
    def from_json(cls, json: dict[str, Any]) -> Self:
        """What its fields, written as JSON, were made of."""
        return cls(
            difference=_number(json["difference"]),
            relative=_number(json["relative"]),
            ci95=_interval(json["ci95"]),
            p=_number(json["p"]),
            p_holm=_number(json["p_holm"]),
            by_split=tuple(map(_number, json["by_split"])),
        )


Comparisons = dict[str, dict[str, Comparison]]
"""Of row `hybrid`, by metric and other row."""


@dataclass(frozen=True)
class Spread:
    """A figure over several draws."""

    mean: float
    sd: float
    """Sample standard deviation."""
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Of two values or more."""
        return cls(fmean(values), stdev(values), min(values), max(values))

    @classmethod
    def from_json(cls, json: dict[str, Any]) -> Self:
        """What its fields, written as JSON, were made of."""
        return cls(**_numbers(json))


@dataclass(frozen=True)
class Draws:
    """A row whose encoder was fine-tuned several times, each with its own dropout and order."""

    rows: tuple[str, ...]
    """Its draws, each a row of the card."""
    figures: dict[str, Spread]
    """Of their metrics, by name."""

    @classmethod
    def of(cls, rows: Sequence[RowCard]) -> Self:
        """Of two rows or more."""
        each = [row.figures.metrics for row in rows]
        spreads = {name: Spread.of([of[name] for of in each]) for name in each[0]}
        return cls(tuple(row.name for row in rows), spreads)

    @classmethod
    def from_json(cls, json: dict[str, Any]) -> Self:
        """What its fields, written as JSON, were made of."""
        return cls(tuple(map(str, json["rows"])), _each(Spread.from_json, json["figures"]))


DIFFERING = "places_differing_from_pmf@"


@dataclass(frozen=True)
class FusionCard:
    """How the row `hybrid` was chosen, and how it stands."""

    signals: tuple[str, ...]
    """Rows that are fused."""
    winner: str
    """The best `signal` alone, their `convex` combination, or the `gate`."""
    weights: Numbers
    """Of each signal in the convex combination, whatever won."""
    adds: Numbers
    """What validation NDCG@25 of that loses without a signal, the others' weights growing in
    proportion."""
    alone: Numbers
    """Validation NDCG@25 of each signal, among the candidates that were fused."""
    validation_ndcg: Numbers
    """NDCG@25 on validation, cross-fitted, of each that could have won."""
    calibration: Numbers
    """What cold items get, and what that costs; empty where nothing was calibrated."""
    against: Comparisons
    places_differing: dict[int, float] = field(default_factory=dict)
    """By cut-off the share of the places that hold another item than row `pmf`'s list."""

    def to_json(self) -> dict[str, Any]:
        """JSON."""
        found = asdict(self)
        found["validation_ndcg@25"] = found.pop("validation_ndcg")
        differing = found.pop("places_differing")
        return found | {f"{DIFFERING}{k}": share for k, share in differing.items()}

    @classmethod
    def from_json(cls, json: dict[str, Any]) -> Self:
        """What `to_json` was made of."""
        return cls(
            signals=tuple(map(str, json["signals"])),
            winner=str(json["winner"]),
            weights=_numbers(json["weights"]),
            adds=_numbers(json["adds"]),
            alone=_numbers(json["alone"]),
            validation_ndcg=_numbers(json["validation_ndcg@25"]),
            calibration=_numbers(json["calibration"]),
            against={
                metric: _each(Comparison.from_json, rows)
                for metric, rows in json["against"].items()
            },
            places_differing={
                int(key.removeprefix(DIFFERING)): _number(share)
                for key, share in json.items()
                if key.startswith(DIFFERING)
            },
        )


@dataclass(frozen=True)
class ScoreCard:
    """All rows of a run folder, and how they were measured."""

    protocol: dict[str, Any]
    """The protocol card: what a reader needs to know to compare the figures."""
    rows: tuple[RowCard | AbsentRow, ...]
    """In the order of the table."""
    made_from: dict[str, dict[str, str | None]]
    """Under `rows`, for each row by name, one hash of all that it was made from."""
    hybrid: FusionCard | None = None
    reference: str = "pmf"
    """The row that gains are shown over."""
    retrieved_ideal: bool = False
    """Is NDCG by the retrieved ideal shown, for it is what was published?"""
    folds: int = 1
    """Is it one of several folds, whose mean is the figure?"""
    draws: dict[str, Draws] = field(default_factory=dict)
    """By the row of the first draw, where there are several."""

    @property
    def measured(self) -> dict[str, RowCard]:
        """The rows that have figures, by name."""
        return {row.name: row for row in self.rows if isinstance(row, RowCard)}

    @property
    def ks(self) -> tuple[int, ...]:
        """The cut-offs, ascending."""
        return cut_offs(next(iter(self.measured.values())).figures.metrics)

    def ranked(self, k: int) -> list[RowCard]:
        """The rows that have figures, the highest precision at a cut-off first."""
        return sorted(
            self.measured.values(), key=lambda row: -row.figures.metrics[f"precision@{k}"]
        )

    @property
    def title(self) -> str:
        """Data, protocol and seed."""
        protocol = self.protocol
        data = data_name(protocol["data"], protocol["synthetic"])
        return f"{data}, protocol {protocol['protocol']}, seed {protocol['seed']}"

    def to_json(self) -> dict[str, Any]:
        """JSON, with the `VERSION` it can be read by."""
        found: dict[str, Any] = {
            "version": VERSION,
            "protocol": self.protocol,
            "rows": [row.to_json() for row in self.rows],
            "made_from": self.made_from,
            "reference": self.reference,
            "retrieved_ideal": self.retrieved_ideal,
            "folds": self.folds,
        }
        if self.hybrid is not None:
            found["hybrid"] = self.hybrid.to_json()
        if self.draws:
            found["draws"] = {name: asdict(draws) for name, draws in self.draws.items()}
        return as_json(found)

    @classmethod
    def from_json(cls, json: dict[str, Any]) -> Self:
        """What `to_json` was made of; InputError if it is of another version."""
        if json.get("version") != VERSION:
            of = f"version {json['version']}" if "version" in json else "an older version"
            raise InputError(f"a score card of {of}; this jaxrec reads version {VERSION}")
        rows = tuple(
            AbsentRow(str(row["name"]), str(row["label"]), str(row["absent"]))
            if "absent" in row
            else RowCard.from_json(row)
            for row in json["rows"]
        )
        return cls(
            protocol=dict(json["protocol"]),
            rows=rows,
            made_from=_each(dict, json["made_from"]),
            hybrid=FusionCard.from_json(json["hybrid"]) if "hybrid" in json else None,
            reference=str(json["reference"]),
            retrieved_ideal=bool(json["retrieved_ideal"]),
            folds=int(json["folds"]),
            draws=_each(Draws.from_json, json.get("draws", {})),
        )


@dataclass(frozen=True)
class Mean:
    """A figure of a row over several run folders."""

    mean: float
    ci95: Interval
    by_run: tuple[float, ...]


@dataclass(frozen=True)
class Summary:
    """Several score cards of one data set and protocol, as one."""

    protocol: str
    data: str
    synthetic: bool
    runs: tuple[str, ...]
    """Names of the run folders."""
    users: int
    """Evaluated in any of them."""
    intervals: str
    """What is drawn anew for intervals and p."""
    rows: dict[str, dict[str, Mean]]
    """By row and figure, `metric@K` or `tail_metric@K`."""
    hits: dict[str, Numbers]
    """By row, in all run folders: `hits@K` and `tail_hits@K`."""
    against: Comparisons | None = None
    """None without a row `hybrid` and another."""
    all_unseen: dict[str, Numbers] | None = None
    """By row, the mean over folds of cold items."""
    left_out: tuple[str, ...] = ()
    """Rows that some run folder has not measured."""
    seeds: int = 1
    """Of the splits; each has one run folder, or one for each fold and initialisation."""

    @property
    def title(self) -> str:
        """Data, protocol and how many run folders."""
        data = data_name(self.data, self.synthetic)
        return f"{data}, protocol {self.protocol}, {len(self.runs)} runs"

    def to_json(self) -> dict[str, Any]:
        """JSON, without what there is not."""
        return as_json({name: value for name, value in asdict(self).items() if value is not None})


def write_card(path: Path, card: ScoreCard) -> None:
    """Write the card as JSON, whole or not at all."""
    write_json(path, sealed(card.to_json()))


def keep_replaced(path: Path, card: ScoreCard, beside: Sequence[str] = ()) -> str | None:
    """Copy the score card that `card` is to replace, if it holds what that lacks.

    Args:
        path: of the card that is there, or is not.
        card: that will be.
        beside: names of files in the same folder that belong to the one that is there.

    Returns:
        A line that says where the copy is; None where nothing would be lost.
    """
    try:
        before = read_card(path)
    except (InputError, FileNotFoundError):
        return None  # damaged, or of another version: nothing that can be read is lost
    lost = _held(before) - _held(card)
    if not lost:
        return None
    folder = path.parent / "replaced" / file_sha256(path)[:12]
    for name in (*beside, path.name):
        if (there := path.with_name(name)).exists():
            with whole_file(folder / name) as partial:
                shutil.copyfile(there, partial)
    rows = [name for name in before.measured if name in {name for name, *_ in lost}]
    return (
        f"{path}: takes the place of a card that has more or other figures of {', '.join(rows)};"
        f" that is kept in {folder}"
    )


def _held(card: ScoreCard) -> set[tuple[str, int, str | None, float | None]]:
    """Of what a card has figures: rows, cut-offs, and how published rows are fused."""
    return {(row.name, k, row.fusion, row.alpha) for row in card.measured.values() for k in card.ks}


def read_card(path: Path) -> ScoreCard:
    """The score card of a run folder; InputError names the file and the command for a new one."""
    remedy = f"run `jaxrec eval --run {quote(str(path.parent))}` for a new one"
    content = read_json(path, remedy)
    check_seal(path, content, remedy)
    try:
        card = ScoreCard.from_json(content)
        if lacks := _lacking(card):
            raise KeyError(lacks)
        return card
    except InputError as error:
        raise InputError(f"{path}: {error}; {remedy}") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        raise InputError(f"{path}: a damaged score card; {remedy}") from None


def _lacking(card: ScoreCard) -> set[str]:
    """Names that parts of the card speak of, or whoever shows it does, and that are not there."""
    asked = {"data", "protocol", "seed", "synthetic"} - card.protocol.keys()
    if not card.measured:
        asked.add("rows")
    for row in card.measured.values():
        asked |= {"tail"} - row.by_item_third.keys()
    if (hybrid := card.hybrid) is not None:
        for of in (hybrid.weights, hybrid.adds, hybrid.alone):
            asked |= set(hybrid.signals) - of.keys()
    return asked


def as_json(found: Any) -> Any:
    """The same as JSON would give it back: null for NaN, lists for tuples, keys as text."""
    if isinstance(found, Mapping):
        return {str(name): as_json(value) for name, value in found.items()}
    if isinstance(found, list | tuple):
        return [as_json(value) for value in found]
    return None if isinstance(found, float) and isnan(found) else found


def data_name(name: str, synthetic: bool) -> str:
    """Name of the data for people, who must not take synthetic ones for real."""
    return f"{name} (SYNTHETIC DATA)" if synthetic else name


def cut_offs(figures: Mapping[str, Any]) -> tuple[int, ...]:
    """Every K of `precision@K` among the names of figures, ascending."""
    names = (name.partition("@") for name in figures)
    return tuple(sorted(int(k) for metric, _, k in names if metric == "precision"))


def _number(json: float | None) -> float:
    return nan if json is None else float(json)


def _numbers(json: dict[str, float | None]) -> Numbers:
    return {name: _number(value) for name, value in json.items()}


def _interval(json: Sequence[float | None]) -> Interval:
    low, high = map(_number, json)
    return low, high


def _curve(json: Sequence[Sequence[float | None]]) -> Curve:
    return tuple(_interval(point) for point in json)


def _each(read: Any, json: dict[str, Any]) -> dict[str, Any]:
    return {name: read(value) for name, value in json.items()}
