"""What a report says of a run folder, of a study, and of several side by side.

A chapter is there where there is something to show.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import NamedTuple

from jaxrec.evaluation.card import (
    AbsentRow,
    Interval,
    Numbers,
    RowCard,
    ScoreCard,
    Summary,
    cut_offs,
)
from jaxrec.report import charts
from jaxrec.report.page import Cell, Chapter, Section, Table
from jaxrec.report.summary import LEAD, lead_cells
from jaxrec.report.tables import BEYOND, draws_line, figure, hybrid_line, ties_line
from jaxrec.report.verdict import SURE, Standing, three_lines

OF_PMF = "* differs from pmf (p below 0.05 by bootstrap, uncorrected)"
OF_HYBRID = "† hybrid differs from it (p below 0.05 after Holm)"


class Training(NamedTuple):
    """How a fit went: figures by step, NaN where there is none."""

    name: str
    """Of the chart's file."""
    title: str
    step: str
    """What a step is."""
    series: dict[str, list[float]]


class Listed(NamedTuple):
    """An item on a list."""

    title: str
    hit: bool


class Case(NamedTuple):
    """What one user got."""

    user: str
    known: int
    """Interactions that rows know of."""
    relevant: int
    """Held-out items that count as hits."""
    latest: list[str]
    lists: dict[str, list[Listed]]
    """By row, best first."""
    why: list[str]
    """What speaks for items of the list of `hybrid`, a line each."""


@dataclass(frozen=True)
class Evidence:
    """A run folder, with all that a report has of it."""

    path: str
    data: Sequence[str]
    """The options that name what it was made of."""
    card: ScoreCard
    trainings: Sequence[Training] = ()
    cases: Sequence[Case] = ()
    commands: Sequence[str] = ()


def of_run(run: Evidence, prefix: str = "") -> Section:
    """All chapters of one run folder; beside others `prefix` begins the names of its charts."""
    card, k = run.card, max(run.card.ks)
    every = [
        _scores(run, k, prefix),
        _leads(card, k, prefix),
        _fusion(card, prefix),
        *_thirds(card, k, prefix),
        _beyond(card, k, prefix),
        _cold(card, k),
        _trainings(run, prefix),
        *map(_case, run.cases),
        Chapter("Protocol card", facts=_facts(card.protocol)),
        Chapter("The same again", commands=run.commands) if run.commands else None,
    ]
    synthetic = bool(card.protocol["synthetic"])
    title = f"{run.path}: {card.title}" if prefix else card.title
    return Section(title, [chapter for chapter in every if chapter is not None], synthetic)


def of_study(
    summary: Summary,
    path: str,
    data: Sequence[str],
    protocol: Mapping[str, object],
    commands: Sequence[str],
) -> Section:
    """Means over several run folders, and the leads of `hybrid`.

    Args:
        summary: the study.
        path: where it is.
        data: the options that name what it was made of.
        protocol: the first run folder's protocol card.
        commands: that make it again.
    """
    ks = cut_offs(next(iter(summary.rows.values())))
    k = max(ks)
    verdict = three_lines(Standing.of_study(summary, k), path, data)
    found = [Chapter("In three lines", verdict), *(_means(summary, k) for k in ks)]
    if summary.against is not None:
        means = {
            row: {name: of.mean for name, of in by.items()} for row, by in summary.rows.items()
        }
        tables = [
            Table(
                f"hybrid, {compared.replace('_', ' ')}, over each row",
                ("row", *LEAD),
                [[Cell(row), *map(Cell, lead_cells(summary, compared, row))] for row in rows],
            )
            for compared, rows in summary.against.items()
            if compared.endswith(f"@{k}")
        ]
        drawn = charts.leads(summary.against, means, k, "study-")
        found.append(Chapter("Leads of hybrid", [], tables, [drawn] if drawn else []))
    if summary.all_unseen is not None:
        found.append(
            Chapter("Cold items among all others", [], [_unseen(summary.all_unseen, k, "mean of")])
        )
    found.append(Chapter(f"Protocol card of {summary.runs[0]}", facts=_facts(protocol)))
    found.append(Chapter("The same again", commands=commands))
    return Section(summary.title, found, summary.synthetic)


def side_by_side(runs: Sequence[Evidence]) -> Section:
    """NDCG of the rows of several run folders.

    Protocols or data may differ: what a figure is comparable with its own protocol card says.
    """
    k = max(set.intersection(*(set(run.card.ks) for run in runs)), default=0)
    metric = f"ndcg@{k}"
    figures = {
        run.path: {name: row.figures for name, row in run.card.measured.items()} for run in runs
    }
    rows = list(dict.fromkeys(name for of in figures.values() for name in of))
    protocols = [run.card.protocol for run in runs]
    said = []
    if len({(of["data_sha256"], of["protocol"]) for of in protocols}) > 1:
        said = ["Data or protocols differ: figures of different columns measure different things."]
    elif len({of.get("split_sha256") for of in protocols}) > 1:
        said = [
            "Splits differ: other interactions are held out in each column, and a difference"
            " between columns may be the splits'."
        ]
    if k == 0:
        return Section("Side by side", [Chapter("NDCG", ["The run folders share no cut-off."])])
    body = [
        [
            Cell(row),
            *(
                _figure(of[row].metrics[metric], of[row].ci95[metric]) if row in of else Cell("")
                for of in figures.values()
            ),
        ]
        for row in rows
    ]
    table = Table(
        f"NDCG@{k} with 95 % intervals, by run folder", ("row", *figures), body, sortable=True
    )
    drawn = charts.side_by_side(figures, k)
    chapter = Chapter(f"NDCG@{k}", said, [table], [drawn])
    return Section("Side by side", [chapter], any(run.card.protocol["synthetic"] for run in runs))


def _scores(run: Evidence, k: int, prefix: str) -> Chapter:
    card = run.card
    absent = [f"{row.name} is absent: {row.why}" for row in card.rows if isinstance(row, AbsentRow)]
    said = [
        *three_lines(Standing.of_card(card, k), run.path, run.data),
        *filter(None, [ties_line(card)]),
        *(draws_line(name, of, k, card.retrieved_ideal) for name, of in card.draws.items()),
        *absent,
    ]
    return Chapter(
        "Scores",
        said,
        [_score_table(card, k) for k in sorted(card.ks, reverse=True)],
        [charts.bars(card, k, prefix)],
    )


def _score_table(card: ScoreCard, k: int) -> Table:
    metrics = {"precision": "P", "recall": "R", "ndcg": "NDCG"}
    if card.retrieved_ideal:
        metrics["ndcg_retrieved"] = "retr. ideal"
    headings = [f"{label}@{k}" if len(label) < 5 else label for label in metrics.values()]
    gain = f"NDCG over {card.reference}"

    def cells(row: RowCard) -> Iterator[Cell]:
        figures, best = row.figures, _best(card, k)
        yield Cell(row.name)
        yield Cell(f"{figures.metrics[f'hits@{k}']:,.0f}", figures.metrics[f"hits@{k}"])
        for metric in metrics:
            name = f"{metric}@{k}"
            value = figures.metrics[name]
            yield _figure(
                value, figures.ci95[name], _marks(card, row, name), value == best.get(name)
            )
        relative = row.gains.get(card.reference, {}).get(f"ndcg@{k}", nan)
        own = row.name == card.reference or isnan(relative)
        yield Cell("" if own else f"{relative:+z.1%}", None if own else relative)

    body = [list(cells(row)) for row in card.measured.values()]
    marks = [OF_PMF] if "pmf" in card.measured else []
    marks += [OF_HYBRID] if card.hybrid is not None else []
    return Table(
        f"Rows at {k}: means over the users, with 95 % intervals",
        ("row", "hits", *headings, gain),
        body,
        sortable=True,
        note="; ".join(marks),
    )


def _best(card: ScoreCard, k: int) -> Numbers:
    each = [row.figures.metrics for row in card.measured.values()]
    return {
        name: max((of[name] for of in each if not isnan(of.get(name, nan))), default=nan)
        for name in each[0]
        if name.endswith(f"@{k}")
    }


def _marks(card: ScoreCard, row: RowCard, metric: str) -> str:
    own = (row.figures.p_vs_pmf or {}).get(metric, nan)
    against = {} if card.hybrid is None else card.hybrid.against.get(metric, {})
    mark = "*" if own < SURE and row.name != "pmf" else ""
    return mark + ("†" if row.name in against and against[row.name].p_holm < SURE else "")


def _figure(value: float, interval: Interval, marks: str = "", best: bool = False) -> Cell:
    low, high = interval
    if isnan(value):
        return Cell("")
    known = "" if isnan(low) else f" ({low:z.4f}–{high:z.4f})"  # noqa: RUF001
    return Cell(f"{value:z.4f}{marks}{known}", value, best)


def _leads(card: ScoreCard, k: int, prefix: str) -> Chapter | None:
    if card.hybrid is None:
        return None
    means = {name: row.figures.metrics for name, row in card.measured.items()}
    against = {
        metric: {row: found for row, found in rows.items() if row in means}
        for metric, rows in card.hybrid.against.items()
    }
    drawn = charts.leads(against, means, k, prefix)
    if drawn is None:
        return None
    body = []
    for row, found in against[f"ndcg@{k}"].items():
        low, high = found.ci95
        body.append(
            [
                Cell(row),
                Cell(f"{found.relative:+z.1%}", found.relative),
                Cell(f"{found.difference:+z.4f}", found.difference),
                Cell(f"{low:+z.4f} to {high:+z.4f}", low),
                Cell(f"{found.p_holm:.4f}", found.p_holm, found.p_holm < SURE),
            ]
        )
    headings = ("row", "lead", "difference", "95 % interval", "p after Holm")
    table = Table(f"hybrid less each row, NDCG@{k}", headings, body, sortable=True)
    return Chapter("Leads of hybrid", [], [table], [drawn])


def _fusion(card: ScoreCard, prefix: str) -> Chapter | None:
    drawn = [charts.alphas(card, prefix)]
    said = []
    if card.hybrid is not None:
        said.append(hybrid_line(card.hybrid))
        drawn.append(charts.signals(card.hybrid, prefix))
    found = [chart for chart in drawn if chart is not None]
    return Chapter("How scores are fused", said, [], found) if found else None


def _thirds(card: ScoreCard, k: int, prefix: str) -> Iterator[Chapter | None]:
    metric = f"ndcg@{k}"
    for of, title in (("item", "Popular and rare items"), ("user", "Quiet and busy users")):
        drawn = charts.thirds(card, of, k, prefix)
        if drawn is None:
            continue
        rows: dict[str, dict] = {
            row.name: own
            for row in card.measured.values()
            if (own := getattr(row, f"by_{of}_third"))
        }
        base = rows.get(card.reference, {})
        names = list(next(iter(rows.values())))

        def gain(own: dict, third: str, base: dict = base) -> Cell:
            value = own[third].metrics[metric]
            less = base[third].metrics[metric] if base else nan
            if isnan(value) or not less > 0:
                return Cell("")
            p = (own[third].p_vs_pmf or {}).get(metric, nan)
            return Cell(f"{value / less - 1:+z.1%}{'*' if p < SURE else ''}", value / less - 1)

        body = [
            [Cell(row), *(gain(own, third) for third in names)]
            for row, own in rows.items()
            if row != card.reference
        ]
        caption = f"NDCG@{k} over {card.reference} by thirds of the {of}s"
        table = Table(caption, ("row", *names), body, sortable=True, note=OF_PMF)
        tables = [table] if base and body else []
        yield Chapter(title, [], tables, [drawn])


def _beyond(card: ScoreCard, k: int, prefix: str) -> Chapter | None:
    drawn = charts.trade_offs(card, k, prefix)
    if drawn is None:
        return None
    rows = {row.name: row.figures.metrics | row.beyond_accuracy for row in card.measured.values()}
    columns = [
        (heading, f"{name}@{k}", places)
        for heading, name, places in BEYOND
        if any(not isnan(of.get(f"{name}@{k}", nan)) for of in rows.values())
    ]
    body = [
        [
            Cell(row),
            *(
                Cell(
                    figure(of.get(name, nan), places),
                    None if isnan(of.get(name, nan)) else of[name],
                )
                for _, name, places in columns
            ),
        ]
        for row, of in rows.items()
    ]
    headings = ("row", *(heading for heading, _, _ in columns))
    table = Table(f"What lists of {k} are beside their hits", headings, body, sortable=True)
    return Chapter("Beyond accuracy", [], [table], [drawn])


def _cold(card: ScoreCard, k: int) -> Chapter | None:
    unseen = {row.name: row.all_unseen for row in card.measured.values() if row.all_unseen}
    cold = {} if card.hybrid is None else card.hybrid.calibration
    if not unseen and not cold:
        return None
    said = []
    if cold:
        said.append(
            f"On validation, with every unseen item a candidate, cold items get"
            f" {cold['bonus']:+z.1f}; {cold['cold_share@25']:.1%} of the places are theirs, and"
            f" P@25 on warm items is {cold['warm_precision@25']:.4f} instead of"
            f" {cold['warm_precision_alone@25']:.4f}."
        )
    tables = [_unseen(unseen, k, f"top {k}:")] if unseen else []
    return Chapter("Cold items", said, tables)


UNSEEN = {"precision": "P", "recall": "R", "ndcg": "NDCG", "cold_share": "places of cold items"}
"""Figures of lists on which every unseen item is a candidate, and their headings."""


def _unseen(rows: Mapping[str, Numbers], k: int, what: str) -> Table:
    """Figures at a cut-off with every unseen item a candidate."""
    body = [
        [Cell(row), *(Cell(figure(value), None if isnan(value) else value) for value in values)]
        for row, of in rows.items()
        for values in [[of.get(f"{name}@{k}", nan) for name in UNSEEN]]
    ]
    headings = [f"{label}@{k}" if len(label) < 5 else label for label in UNSEEN.values()]
    caption = f"{what} the same rows with every unseen item a candidate".capitalize()
    return Table(caption, ("row", *headings), body, sortable=True)


def _facts(protocol: Mapping[str, object]) -> dict[str, object]:
    return {name.replace("_", " "): value for name, value in protocol.items()}


def _trainings(run: Evidence, prefix: str) -> Chapter | None:
    drawn = [
        charts.curve(of.name, of.title, of.series, of.step, prefix)
        for of in run.trainings
        if all(len(values) > 1 for values in of.series.values())
    ]
    return Chapter("Training", charts=drawn) if drawn else None


def _case(case: Case) -> Chapter:
    length = max(map(len, case.lists.values()))
    body = [
        [
            Cell(str(rank + 1), rank),
            *(
                Cell(f"{of[rank].title}{' ✓' if of[rank].hit else ''}", None, of[rank].hit)
                if rank < len(of)
                else Cell("")
                for of in case.lists.values()
            ),
        ]
        for rank in range(length)
    ]
    hits = (f"{row} {sum(of.hit for of in listed)}" for row, listed in case.lists.items())
    said = [
        f"Of {case.relevant:,} liked items that are held out, the lists have: {', '.join(hits)}.",
        f"Latest of what is known: {'; '.join(case.latest)}.",
    ]
    table = Table(
        f"Lists of user {case.user} as they were measured; ✓ marks a hit",
        ("rank", *case.lists),
        body,
        words=True,
    )
    return Chapter(
        f"User {case.user}, with {case.known:,} interactions", [*said, *case.why], [table]
    )


def _means(summary: Summary, k: int) -> Chapter:
    metrics = {"precision": "P", "recall": "R", "ndcg": "NDCG", "tail_recall": "tail R"}
    body = []
    for row, of in summary.rows.items():
        each = [of[f"{metric}@{k}"] for metric in metrics]
        hits = summary.hits[row][f"tail_hits@{k}"]
        cells = [_figure(mean.mean, mean.ci95) for mean in each]
        body.append([Cell(row), *cells, Cell(f"{hits:,.0f}", hits)])
    headings = ("row", *(f"{label}@{k}" for label in metrics.values()), "tail hits")
    table = Table(f"Means over {len(summary.runs)} run folders", headings, body, sortable=True)
    by_run = [
        [Cell(row), *(_figure(value, (nan, nan)) for value in of[f"ndcg@{k}"].by_run)]
        for row, of in summary.rows.items()
    ]
    each_run = Table(f"NDCG@{k} of each run folder", ("row", *summary.runs), by_run, sortable=True)
    said = [f"Intervals and p: {summary.intervals}."]
    if summary.left_out:
        said.append(f"Not measured in every run: {', '.join(summary.left_out)}.")
    return Chapter(f"Means at {k}", said, [table, each_run], [charts.means(summary, k)])
