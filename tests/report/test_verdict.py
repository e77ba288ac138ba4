"""What a score card comes to."""

from dataclasses import replace

from jaxrec.evaluation.card import Comparison, RowCard
from jaxrec.report.verdict import lead_line, text_line, verdict
from tests.cards import row_card, score_card_of
from tests.report.test_tables import HYBRID

METRIC = "precision@5"


def with_p(row: RowCard, p: float) -> RowCard:
    return replace(row, figures=replace(row.figures, p_vs_pmf={METRIC: p}))


def hybrid_over(other: str, difference: float, half: float, p: float) -> dict:
    bounds = difference - half, difference + half
    lead = Comparison(difference, 0.0, bounds, p, p, (difference,))
    return {"hybrid": replace(HYBRID, against={METRIC: {other: lead}})}


def test_hybrid_leads_the_next_by_what_it_was_compared_in() -> None:
    rows = row_card("pmf", 0.1), row_card("text", 0.2), row_card("hybrid", 0.3)
    assert lead_line(score_card_of(*rows, **hybrid_over("text", 0.1, 0.02, 0.01)), 5) == (
        "hybrid leads: P@5 0.3000, +50.0% on text; 95 % interval +40.0% to +60.0%, Holm's p 0.0100"
    )


def test_a_lead_over_hybrid_is_the_same_comparison_turned() -> None:
    rows = row_card("text", 0.3), row_card("hybrid", 0.2)
    assert lead_line(score_card_of(*rows, **hybrid_over("text", -0.1, 0.12, 0.2)), 5) == (
        "text leads: P@5 0.3000, +50.0% on hybrid; 95 % interval -10.0% to +110.0%, Holm's p"
        " 0.2000: it may be chance"
    )


def test_without_hybrid_a_lead_over_pmf_has_the_p_of_its_row() -> None:
    card = score_card_of(row_card("pmf", 0.2), with_p(row_card("set", 0.3), 0.004))
    assert lead_line(card, 5) == "set leads: P@5 0.3000, +50.0% on pmf; p 0.0040"


def test_a_lead_that_was_not_tested_says_so() -> None:
    card = score_card_of(row_card("ease", 0.2), row_card("set", 0.3))
    assert lead_line(card, 5).endswith("how sure that is was not tested: only `hybrid` is compared"
                                       " with every row")  # fmt: skip


def test_text_is_worth_what_rows_gain_by_it() -> None:
    rows = [
        row_card("mf", 0.2), row_card("mf+minilm", 0.1), row_card("text+minilm", 0.4),
        row_card("mf+minilm-ft-draw2", 0.1), row_card("pmf", 0.2), row_card("text", 0.1),
        with_p(row_card("pmf+text", 0.3), 0.01), row_card("ease+text", 0.3),
    ]  # fmt: skip
    said = "text changes P@5: mf+minilm -50.0%, pmf+text +50.0% (p 0.0100)"
    assert text_line(score_card_of(*rows), 5) == said


def test_one_row_alone_has_no_verdict() -> None:
    assert list(verdict(score_card_of(row_card("pmf")))) == []


def test_rows_that_find_nothing_have_one() -> None:
    card = score_card_of(row_card("pmf", 0.0), row_card("pmf+text", 0.0))
    assert [line.partition(";")[0] for line in verdict(card)] == ["pmf leads: P@5 0.0000"]
