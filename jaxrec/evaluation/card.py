"""The score card: which rows there are, how each is made, and what they say."""

from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rich.table import Table

from jaxrec.evaluation.measure import (
    ITEM_THIRDS,
    USER_THIRDS,
    Evaluation,
    PerUser,
    means,
    user_thirds,
)
from jaxrec.evaluation.significance import bootstrap_means, holm, interval, p_value
from jaxrec.models.registry import MODELS

LABELS = {
    "minilm": "MiniLM base",
    "minilm-ft": "MiniLM fine-tuned",
    "qwen3-4b": "Qwen3-4B base",
    "qwen3-4b-ft": "Qwen3-4B fine-tuned (NF4 LoRA)",
}
"""Embeddings of the published table, in its order."""
WITHOUT_PUBLISHED_ROWS = ("cold-items", "cold-users")
"""Protocols under which the published program has no factors for whom or what is cold."""


class Row(NamedTuple):
    """One line of the score card."""

    name: str
    """`mf`, `mf+NAME`, `text+NAME`, a row of `jaxrec.models.registry`, or `hybrid`."""
    label: str
    factors: str | None = None
    """Whose factors it needs, if any: `mf` or `pmf`."""
    embeddings: str | None = None
    """Which embeddings it needs, if any."""
    learned: bool = False
    """Fitted by `jaxrec.experiment.fitting`?"""


def rows_with(embeddings: list[str], protocol: str) -> list[Row]:
    """The published rows in their order where they make sense, then those that are learned."""
    rows = []
    if protocol not in WITHOUT_PUBLISHED_ROWS:
        rows = [Row("mf", "MF only", "mf")]
        published = LABELS if protocol == "published" else embeddings
        for name in [*published, *(name for name in embeddings if name not in published)]:
            label = LABELS.get(name, name)
            rows.append(Row(f"mf+{name}", f"MF + {label}", "mf", name))
            if name in embeddings and protocol == "published":
                rows.append(Row(f"text+{name}", f"{label} alone", None, name))
    for name, model in MODELS.items():
        rows.append(Row(name, model.label, "pmf" if name == "pmf" else None, None, name != "pmf"))
    return [*rows, Row("hybrid", "learned fusion", None, None, True)]


def absent(row: Row, command: str) -> dict[str, Any]:
    """JSON of a row that cannot be measured yet, with the command that would make it."""
    return {"name": row.name, "label": row.label, "absent": command}


def measured(
    rows: list[Row], evaluations: dict[str, Evaluation], known: NDArray[np.integer]
) -> list[dict[str, Any]]:
    """JSON of the rows that were evaluated.

    Each has `users`, `hits` within the largest cut-off, `metrics` with `ci95` and `p_vs_pmf` (both
    by bootstrap over users), the same under `by_item_third` and `by_user_third`, and relative gains
    over `mf` and `pmf`.

    Args:
        rows: in the order of the table.
        evaluations: by the rows' names, of one task.
        known: [users] ratings known of each user.
    """
    rows = [row for row in rows if row.name in evaluations]
    groups = {row.name: _groups(evaluations[row.name], known) for row in rows}
    names = [(group, name) for group, per_user in groups[rows[0].name].items() for name in per_user]
    columns = np.stack(
        [groups[row.name][group][name] for row in rows for group, name in names], axis=1
    )
    boot = bootstrap_means(columns).reshape(-1, len(rows), len(names))
    low, high = interval(boot)
    place = {row.name: number for number, row in enumerate(rows)}
    p = p_value(boot - boot[:, [place["pmf"]]]) if "pmf" in place else None
    cards = []
    for row, number in place.items():
        found = evaluations[row]
        card: dict[str, Any] = {
            "name": row,
            "label": rows[number].label,
            "users": len(found.users),
            "hits": found.hits,
        }
        parts: dict[tuple[str, ...], dict[str, Any]] = {}
        for column, (group, name) in enumerate(names):
            part = parts.setdefault(group, {"metrics": means(groups[row][group]), "ci95": {}})
            part["ci95"][name] = [float(low[number, column]), float(high[number, column])]
            if p is not None:
                part.setdefault("p_vs_pmf", {})[name] = float(p[number, column])
        for group, part in parts.items():
            part["metrics"] |= _coverage(found, group, known)
        card |= parts.pop(())
        for kind, third in parts:
            card.setdefault(kind, {})[third] = parts[kind, third]
        cards.append(card)
    for card in cards:
        for reference in ("mf", "pmf"):
            if reference in place:
                of = cards[place[reference]]["metrics"]
                card[f"gain_over_{reference}"] = {
                    name: value / of[name] - 1
                    for name, value in card["metrics"].items()
                    if of.get(name, 0) > 0
                }
    return [without_nan(card) for card in cards]


def without_nan(found: Any) -> Any:
    """The same with None for every NaN, which JSON does not know."""
    if isinstance(found, dict):
        return {name: without_nan(value) for name, value in found.items()}
    if isinstance(found, list):
        return [without_nan(value) for value in found]
    return None if isinstance(found, float) and np.isnan(found) else found


def figure(value: float | None) -> str:
    """Four digits, or nothing where there is no figure."""
    return "" if value is None else f"{value:.4f}"


def _groups(found: Evaluation, known: NDArray[np.integer]) -> dict[tuple[str, ...], PerUser]:
    """Figures of everything, of each third of the items, and of each third of the users."""
    groups: dict[tuple[str, ...], PerUser] = {(): found.per_user}
    for third in ITEM_THIRDS:
        groups["by_item_third", third] = found.by_item_third[third]
    of = user_thirds(known[found.users])
    for number, third in enumerate(USER_THIRDS):
        groups["by_user_third", third] = {
            name: np.where(of == number, values, np.nan).astype(np.float32)
            for name, values in found.per_user.items()
        }
    return groups


def _coverage(
    found: Evaluation, group: tuple[str, ...], known: NDArray[np.integer]
) -> dict[str, float]:
    if not group:
        return found.coverage()
    kind, third = group
    if kind == "by_item_third":
        return found.coverage(of=found.item_thirds == ITEM_THIRDS.index(third))
    return found.coverage(users=user_thirds(known[found.users]) == USER_THIRDS.index(third))


def against(
    per_user: dict[str, NDArray[np.floating]], name: str = "hybrid"
) -> dict[str, dict[str, Any]]:
    """How row `name` stands against every other: difference, ratio, interval and p by Holm.

    Args:
        per_user: [users] one metric, by row; the same users in every row.
        name: the row that is compared.
    """
    others = [row for row in per_user if row != name]
    if not others:
        return {}
    columns = np.stack([per_user[name] - per_user[row] for row in others], axis=1)
    boot = bootstrap_means(columns)
    low, high = interval(boot)
    corrected = holm(dict(zip(others, p_value(boot).tolist(), strict=True)))
    own = float(np.nanmean(per_user[name]))
    return {
        row: {
            "difference": float(np.nanmean(columns[:, number])),
            "relative": own / float(np.nanmean(per_user[row])) - 1
            if np.nanmean(per_user[row]) > 0
            else float("nan"),
            "ci95": [float(low[number]), float(high[number])],
            "p_holm": corrected[row],
        }
        for number, row in enumerate(others)
    }


def per_user_table(evaluations: dict[str, Evaluation], user_ids: NDArray[np.int64]) -> pl.DataFrame:
    """Every user's figures: `row`, `user_id`, one column a metric, `tail_` before those of it."""
    return pl.concat(
        [
            pl.DataFrame(
                {"user_id": user_ids[found.users]}
                | found.per_user
                | {f"tail_{name}": v for name, v in found.by_item_third["tail"].items()}
            ).select(pl.lit(row).alias("row"), pl.all())
            for row, found in evaluations.items()
        ]
    )


def table(card: dict[str, Any], rows: list[dict[str, Any]], k: int) -> Table:
    """The score card at one cut-off, for the terminal."""
    data = f"{card['data']}{' (SYNTHETIC DATA)' if card['synthetic'] else ''}"
    published = card["protocol"] == "published"
    shown = Table(title=f"{data}, protocol {card['protocol']}, seed {card['seed']}", padding=(0, 0))
    shown.add_column("row", no_wrap=True)
    over = "mf" if published else "pmf"
    last = "retr. ideal" if published else "tail R"
    for heading in ("hits", f"P@{k}", "±", f"R@{k}", f"NDCG@{k}", last, f"/ {over}"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        if "absent" in row:
            shown.add_row(row["name"], "absent", style="dim")
            continue
        metrics = row["metrics"]
        low, high = row["ci95"][f"precision@{k}"]
        last_figure = (
            metrics[f"ndcg_retrieved@{k}"]
            if published
            else row["by_item_third"]["tail"]["metrics"][f"recall@{k}"]
        )
        gain = row.get(f"gain_over_{over}", {}).get(f"precision@{k}")
        shown.add_row(
            row["name"],
            str(round(metrics[f"precision@{k}"] * k * row["users"])),
            f"{metrics[f'precision@{k}']:.4f}",
            f"{(high - low) / 2:.3f}",
            *(f"{metrics[f'{metric}@{k}']:.4f}" for metric in ("recall", "ndcg")),
            figure(last_figure),
            "" if gain is None or row["name"] == over else f"{gain:+.1%}",
        )
    return shown


def foreign_table(rows: list[dict[str, Any]], library: str, k: int) -> Table:
    """The same lists by another library's definitions, for the terminal."""
    shown = Table(title=f"the same lists, metrics as {library} defines them", padding=(0, 0))
    shown.add_column("row", no_wrap=True)
    measured = [row for row in rows if "metrics_as" in row]
    for name in measured[0]["metrics_as"][library][k]:
        shown.add_column(name, justify="right")
    for row in measured:
        figures = row["metrics_as"][library][k].values()
        shown.add_row(row["name"], *(f"{value:.4f}" for value in figures))
    return shown


def hybrid_line(card: dict[str, Any]) -> str:
    """How the row `hybrid` was chosen, and how far text changed its lists."""
    ndcg = card["validation_ndcg@25"]
    line = (
        f"hybrid: {card['winner']} of {', '.join(card['signals'])} (validation NDCG@25 gate"
        f" {ndcg['gate']:.4f}, convex {ndcg['convex']:.4f} at alpha {card['alpha']:g})"
    )
    if calibration := card["calibration"]:
        line += (
            f"; cold items get {calibration['bonus']:+.1f}: P@25 on warm items"
            f" {calibration['warm_precision@25']:.4f} instead of"
            f" {calibration['warm_precision_alone@25']:.4f}, {calibration['cold_share@25']:.1%} of"
            " the places are cold (validation)"
        )
    for name, share in card.items():
        if name.startswith("places_differing"):
            line += f"; {share:.0%} of its top {name.partition('@')[2]} differ from pmf's"
    return line


def card_lines(card: dict[str, Any]) -> list[str]:
    """The protocol card, one line an item."""
    return [f"{name.replace('_', ' ')}: {value}" for name, value in card.items()]
