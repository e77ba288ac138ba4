"""A score card for the terminal, part by part."""

from collections.abc import Iterator, Sequence
from dataclasses import astuple
from math import isnan, nan

from rich.table import Table

from jaxrec.evaluation.card import AbsentRow, Draws, FusionCard, ScoreCard
from jaxrec.report.verdict import Standing, three_lines

TIED = 0.01
"""Share of a row's lists from which on equal scores are told of."""

BEYOND = (
    ("coverage", "coverage", 4),
    ("novelty", "novelty", 2),
    ("popularity", "popularity", 1),
    ("Gini", "gini", 4),
    ("diversity", "diversity", 4),
    ("miscalibration", "miscalibration", 4),
)
"""Of the second table: heading, figure, decimal places."""


def first_parts(
    card: ScoreCard, run: str, data: Sequence[str], whole: bool = False, alone: bool = True
) -> Iterator[str | Table]:
    """What is seen first: a table for each cut-off, and what it comes to.

    Args:
        card: what was measured.
        run: the run folder, for commands to go on with.
        data: the options that name what it was made of, likewise.
        whole: begin with the protocol card.
        alone: else it is of a study, and what that comes to is said of all its run folders.
    """
    if whole:
        yield from card_lines(card)
    yield from (table(card, k) for k in card.ks)
    if alone:
        yield from three_lines(Standing.of_card(card, max(card.ks)), run, data)


def further_parts(card: ScoreCard) -> Iterator[str | Table]:
    """The rest, in order.

    What lists are beside their hits, what is absent and what was chosen, and the same lists as
    other libraries measure them.
    """
    for k in card.ks:
        if (beyond := beyond_table(card, k)) is not None:
            yield beyond
    if line := ties_line(card):
        yield line
    for row in card.rows:
        if isinstance(row, AbsentRow):
            yield f"{row.name} is absent: {row.why}"
        elif row.alpha_curve:
            yield f"{row.name}: alpha {row.alpha}, chosen on validation NDCG@25"
    if card.hybrid is not None:
        yield hybrid_line(card.hybrid)
    for name, draws in card.draws.items():
        for k in card.ks:
            yield draws_line(name, draws, k, card.retrieved_ideal)
    for library in sorted({name for row in card.measured.values() for name in row.metrics_as}):
        for k in card.ks:
            yield foreign_table(card, library, k)


def card_lines(card: ScoreCard) -> list[str]:
    """The protocol card, one line an item."""
    return [f"{name.replace('_', ' ')}: {value}" for name, value in card.protocol.items()]


def table(card: ScoreCard, k: int) -> Table:
    """The rows at one cut-off."""
    last = ("retr. ideal",) if card.retrieved_ideal else ("tail R", "tail hits")
    headings = ("hits", f"P@{k}", "±", f"R@{k}", f"NDCG@{k}", *last, f"/ {card.reference}")
    shown = table_of_rows(card.title, headings)
    for row in card.rows:
        if isinstance(row, AbsentRow):
            shown.add_row(row.name, "absent", style="dim")
            continue
        metrics, tail = row.figures.metrics, row.by_item_third["tail"].metrics
        precision, gain = f"precision@{k}", row.gains.get(card.reference, {})
        shown.add_row(
            row.name,
            f"{metrics[f'hits@{k}']:.0f}",
            figure(metrics[precision]),
            half_width(row.figures.ci95[precision]),
            *(figure(metrics[f"{metric}@{k}"]) for metric in ("recall", "ndcg")),
            *(
                [figure(metrics[f"ndcg_retrieved@{k}"])]
                if card.retrieved_ideal
                else [figure(tail[f"recall@{k}"]), f"{tail[f'hits@{k}']:.0f}"]
            ),
            f"{gain[precision]:+z.1%}" if precision in gain and row.name != card.reference else "",
        )
    return shown


def beyond_table(card: ScoreCard, k: int) -> Table | None:
    """What the lists are beside their hits, at one cut-off; None where no row knows."""
    rows = {
        row.name: row.figures.metrics | row.beyond_accuracy
        for row in card.measured.values()
        if row.beyond_accuracy
    }
    columns = [
        (heading, f"{name}@{k}", places)
        for heading, name, places in BEYOND
        if any(not isnan(figures.get(f"{name}@{k}", nan)) for figures in rows.values())
    ]
    if not columns:
        return None
    headings = tuple(heading for heading, _, _ in columns)
    shown = table_of_rows(f"beyond accuracy, top {k}", headings)
    for row, figures in rows.items():
        shown.add_row(row, *(figure(figures.get(name, nan), places) for _, name, places in columns))
    return shown


def ties_line(card: ScoreCard) -> str:
    """The rows of whose lists at least `TIED` hang on the tie rule; empty if there are none."""
    tied = {row.name: row.tied_share for row in card.measured.values() if row.tied_share >= TIED}
    shares = ", ".join(f"{name} {share:.0%}" for name, share in tied.items())
    return f"lists with equal scores, in the order of the tie rule: {shares}" if tied else ""


def foreign_table(card: ScoreCard, library: str, k: int) -> Table:
    """The same lists by another library's definitions."""
    rows = {row.name: row.metrics_as[library][k] for row in card.measured.values()}
    shown = Table(title=f"the same lists, metrics as {library} defines them", padding=(0, 0))
    shown.add_column("row", no_wrap=True)
    for name in next(iter(rows.values())):
        shown.add_column(name, justify="right")
    for row, figures in rows.items():
        shown.add_row(row, *(f"{value:.4f}" for value in figures.values()))
    return shown


def hybrid_line(hybrid: FusionCard) -> str:
    """How the row `hybrid` was chosen, and how far text changed its lists."""
    reached = ", ".join(f"{name} {ndcg:.4f}" for name, ndcg in hybrid.validation_ndcg.items())
    each = ", ".join(
        f"{hybrid.weights[name]:.2f} {name} ({hybrid.alone[name]:.4f} alone, adds"
        f" {hybrid.adds[name]:+z.4f})"
        for name in hybrid.signals
    )
    best = max(hybrid.alone, key=hybrid.alone.__getitem__)
    winner = f"{best} alone" if hybrid.winner == "signal" else hybrid.winner
    line = f"hybrid: {winner} (validation NDCG@25 {reached}); the convex combination is {each}"
    if calibration := hybrid.calibration:
        line += (
            f"; cold items get {calibration['bonus']:+z.1f}: P@25 on warm items"
            f" {calibration['warm_precision@25']:.4f} instead of"
            f" {calibration['warm_precision_alone@25']:.4f}, {calibration['cold_share@25']:.1%} of"
            " the places are cold (validation)"
        )
    for k, share in hybrid.places_differing.items():
        line += f"; {share:.0%} of its top {k} differ from pmf's"
    return line


def draws_line(name: str, draws: Draws, k: int, retrieved_ideal: bool) -> str:
    """What a row comes to over several fine-tunings of its encoder, at one cut-off."""
    shown = [("hits", "hits", 0), (f"P@{k}", "precision", 4), (f"R@{k}", "recall", 4)]
    shown += [(f"NDCG@{k}", "ndcg", 4)]
    shown += [("retr. ideal", "ndcg_retrieved", 4)] if retrieved_ideal else []
    each = []
    for heading, metric, places in shown:
        mean, sd, lowest, highest = astuple(draws.figures[f"{metric}@{k}"])
        more = places or 1  # means of whole numbers are none
        spread = f"({lowest:.{places}f} to {highest:.{places}f})"
        each.append(f"{heading} {mean:.{more}f} ± {sd:.{more}f} {spread}")
    return (
        f"{name}: {len(draws.rows)} fine-tunings, mean ± standard deviation (lowest to highest):"
        f" {', '.join(each)}"
    )


def table_of_rows(title: str, headings: tuple[str, ...]) -> Table:
    """An empty table of a row's name and of figures."""
    shown = Table(title=title, padding=(0, 0))
    shown.add_column("row", no_wrap=True)
    for heading in headings:
        shown.add_column(heading, justify="right", no_wrap=True)
    return shown


def figure(value: float, places: int = 4) -> str:
    """So many decimal places, or nothing where there is no figure."""
    return "" if isnan(value) else f"{value:z.{places}f}"


def half_width(interval: tuple[float, float]) -> str:
    """What stands behind ±, or nothing where there is no figure."""
    low, high = interval
    return "" if isnan(high - low) else f"{(high - low) / 2:z.3f}"
