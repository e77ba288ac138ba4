"""What the terminal shows of a score card."""

import io
from math import nan

from rich.console import Console, RenderableType

from jaxrec.evaluation.card import (
    AbsentRow,
    Comparison,
    Draws,
    FusionCard,
    Mean,
    ScoreCard,
    Summary,
)
from jaxrec.report.summary import tables
from jaxrec.report.tables import (
    card_lines,
    figure,
    first_parts,
    further_parts,
    half_width,
    hybrid_line,
)
from tests.cards import figures, row_card, score_card_of

HYBRID = FusionCard(
    signals=("pmf+text", "text"),
    winner="gate",
    weights={"pmf+text": 0.75, "text": 0.25},
    adds={"pmf+text": 0.1, "text": -0.001},
    alone={"pmf+text": 0.2, "text": 0.1},
    validation_ndcg={"signal": 0.2, "convex": 0.21, "gate": 0.25},
    calibration={},
    against={},
    places_differing={25: 0.4},
)


def printed(*shown: RenderableType) -> list[str]:
    """Lines, without the frame of a table."""
    console = Console(file=io.StringIO(), width=120, soft_wrap=True)
    for part in shown:
        console.print(part, markup=False)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    return [" ".join(line.replace("┃", " ").replace("│", " ").split()) for line in lines]


def parts(card: ScoreCard) -> list[RenderableType]:
    return [*first_parts(card, "run", ("--data", "songs.csv")), *further_parts(card)]


def test_the_card_is_shown_part_by_part() -> None:
    card = score_card_of(
        row_card("pmf", 0.2),
        AbsentRow("mf+minilm", "MiniLM", "jaxrec embed"),
        row_card("hybrid", 0.4, gains={"mf": {"precision@5": 3.0}, "pmf": {"precision@5": 1.0}}),
        hybrid=HYBRID,
    )
    shown = printed(*parts(card))
    assert shown[0] == "tiny (SYNTHETIC DATA), protocol strict, seed 7"
    assert shown[2] == "row hits P@5 ± R@5 NDCG@5 tail R tail hits / pmf"
    assert shown[4] == "pmf 10 0.2000 0.100 0.2000 0.2000 0.2000 10"
    assert shown[5] == "mf+minilm absent"
    assert shown[6] == "hybrid 20 0.4000 0.100 0.4000 0.4000 0.4000 20 +100.0%"
    won, text, then, *further = shown[8:]
    assert won.startswith("Won: hybrid, NDCG@5 0.4000 over 10 users, +100.0% on pmf; ")
    assert [text[:5], then[:5]] == ["Text:", "Next:"]
    assert further == ["mf+minilm is absent: jaxrec embed", hybrid_line(HYBRID)]


def test_the_protocol_card_goes_above_the_table_if_it_is_asked_for() -> None:
    card = score_card_of(row_card("pmf"))
    protocol = card_lines(card)
    assert (
        printed(*first_parts(card, "run", ("--data", "songs.csv"), whole=True))[: len(protocol)]
        == protocol
    )
    assert not set(protocol) & set(printed(*parts(card)))


def test_what_lists_are_beside_their_hits_is_a_table_of_its_own() -> None:
    """Of the figures that any row has, at the cut-off."""
    figures = {"novelty@5": 3.456, "popularity@5": 12.34, "gini@5": 0.9, "diversity@5": nan}
    rows = row_card("pmf", beyond_accuracy=figures), row_card("text"), AbsentRow("mf", "MF", "why")
    rows[0].figures.metrics["coverage@5"] = 0.25
    lines = printed(*parts(score_card_of(*rows)))
    start = lines.index("beyond accuracy, top 5")
    assert lines[start + 2] == "row coverage novelty popularity Gini"
    assert lines[start + 4] == "pmf 0.2500 3.46 12.3 0.9000"
    assert "mf" not in lines[start + 5]


def test_the_card_says_what_its_table_shows() -> None:
    card = score_card_of(
        row_card("mf", 0.2), row_card("pmf", 0.1, gains={"mf": {"precision@5": -0.5}}),
        reference="mf", retrieved_ideal=True,
    )  # fmt: skip
    lines = printed(*parts(card))
    assert "row hits P@5 ± R@5 NDCG@5 retr. ideal / mf" in lines
    assert "pmf 5 0.1000 0.100 0.1000 0.1000 0.1000 -50.0%" in lines


def test_several_fine_tunings_of_a_row_are_a_mean_and_a_spread() -> None:
    rows = [row_card(f"mf+minilm-ft{draw}", p) for draw, p in (("", 0.2), ("-draw2", 0.4))]
    card = score_card_of(*rows, draws={"mf+minilm-ft": Draws.of(rows)}, retrieved_ideal=True)
    assert printed(*parts(card))[-1] == (
        "mf+minilm-ft: 2 fine-tunings, mean ± standard deviation (lowest to highest): hits 15.0 ±"
        " 7.1 (10 to 20), P@5 0.3000 ± 0.1414 (0.2000 to 0.4000), R@5 0.3000 ± 0.1414 (0.2000 to"
        " 0.4000), NDCG@5 0.3000 ± 0.1414 (0.2000 to 0.4000), retr. ideal 0.3000 ± 0.1414 (0.2000"
        " to 0.4000)"
    )


def test_lists_are_measured_as_another_library_would() -> None:
    row = row_card("pmf", metrics_as={"ranx": {5: {"map@5": 0.123456}}})
    title, _, heading, _, figure_line, _ = printed(*parts(score_card_of(row)))[-6:]
    assert title == "the same lists, metrics as ranx defines them"
    assert (heading, figure_line) == ("row map@5", "pmf 0.1235")


def test_a_chosen_alpha_is_told() -> None:
    row = row_card("mf+minilm", alpha=0.7, alpha_curve=((0.7, 0.1),))
    assert "mf+minilm: alpha 0.7, chosen on validation NDCG@25" in printed(
        *parts(score_card_of(row))
    )


def test_rows_whose_lists_hang_on_the_tie_rule_are_told() -> None:
    rows = row_card("pmf", tied=0.009), row_card("text", tied=0.01), row_card("ease", tied=0.5)
    line = "lists with equal scores, in the order of the tie rule: text 1%, ease 50%"
    assert line in printed(*parts(score_card_of(*rows)))
    assert not any("equal scores" in part for part in printed(*parts(score_card_of(rows[0]))))


def test_the_line_of_the_hybrid() -> None:
    assert hybrid_line(HYBRID) == (
        "hybrid: gate (validation NDCG@25 signal 0.2000, convex 0.2100, gate 0.2500); the"
        " convex combination is 0.75 pmf+text (0.2000 alone, adds +0.1000), 0.25 text (0.1000"
        " alone, adds -0.0010); 40% of its top 25 differ from pmf's"
    )


def test_nobody_s_figure_is_not_shown() -> None:
    assert (figure(nan), half_width((nan, nan))) == ("", "")
    assert (figure(0.25), half_width((0.1, 0.3))) == ("0.2500", "0.100")
    row = row_card("pmf")
    row.by_item_third["tail"] = figures(nan)
    assert "pmf 20 0.4000 0.100 0.4000 0.4000 0" in printed(*parts(score_card_of(row)))


def test_a_summary_shows_the_lead_of_hybrid() -> None:
    def means(mean: float) -> dict[str, Mean]:
        names = ("precision", "recall", "ndcg", "tail_recall")
        return {f"{name}@5": Mean(mean, (mean - 0.1, mean + 0.1), (mean, mean)) for name in names}

    lead = Comparison(0.1, 0.5, (0.05, 0.15), 0.005, 0.01, (0.12, 0.08))
    summary = Summary(
        "strict", "tiny", True, ("a", "b"), 10, "users and splits",
        rows={"pmf": means(0.2), "hybrid": means(0.3)},
        hits={"pmf": {"hits@5": 10, "tail_hits@5": 2}, "hybrid": {"hits@5": 15, "tail_hits@5": 4}},
        against={"precision@5": {"pmf": lead}, "tail_recall@5": {"pmf": lead}},
        left_out=("ease",),
    )  # fmt: skip
    lines = printed(*tables(summary, 5))
    assert lines[0] == "tiny (SYNTHETIC DATA), protocol strict, 2 runs"
    assert lines[2] == "row P@5 ± R@5 NDCG@5 tail R tail hits"
    assert lines[4] == "pmf 0.2000 0.100 0.2000 0.2000 0.2000 2"
    assert lines[5] == "hybrid 0.3000 0.100 0.3000 0.3000 0.3000 4"
    assert lines[7:9] == ["± and p: users and splits", "not measured in every run: ease"]
    assert lines[9] == "hybrid, precision@5, over"
    assert lines[11] == "row lead 95 % interval in the splits p hits"
    of_both = "+50.0% +25.0% to +75.0% +40.0% to +60.0% 0.0100"
    assert lines[13] == f"pmf {of_both} 15 / 10"
    assert lines[15] == "hybrid, tail recall@5, over"
    assert lines[19] == f"pmf {of_both} 4 / 2"
