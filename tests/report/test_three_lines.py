"""Three lines that a card is read by."""

from dataclasses import replace

from jaxrec.evaluation.card import Comparison, ScoreCard
from jaxrec.report.verdict import Standing, three_lines
from tests.cards import figures, row_card, score_card_of
from tests.report.test_tables import HYBRID


def lines(card: ScoreCard) -> list[str]:
    return three_lines(Standing.of_card(card, 5), "my run", ("--data", "songs.csv"))


def real(*rows: object, p: float = 0.01) -> ScoreCard:
    compared = Comparison(0.1, 0.25, (0.05, 0.15), p, p, (0.1,))
    against = {"ndcg@5": {"pmf": compared, "pmf+text": compared}}
    hybrid = replace(HYBRID, against=against)
    return score_card_of(*rows, hybrid=hybrid, protocol={"synthetic": False})  # type: ignore[arg-type]


def test_a_sure_winner_is_to_be_fitted() -> None:
    won, _, then = lines(
        real(row_card("pmf", 0.4), row_card("pmf+text", 0.3), row_card("hybrid", 0.5))
    )
    assert won == (
        "Won: hybrid, NDCG@5 0.5000 over 10 users, +25.0% on pmf (95 % interval +12.5% to +37.5%,"
        " p 0.010 after Holm)."
    )
    assert then.endswith("`jaxrec fit --run 'my run' --row hybrid --out MODEL`.")


def test_a_lead_over_hybrid_is_the_same_comparison_turned() -> None:
    won, *_ = lines(real(row_card("hybrid", 0.4), row_card("pmf", 0.5), p=0.2))
    assert "pmf, NDCG@5 0.5000 over 10 users, +25.0% on hybrid (95 % interval -37.5% to -1" in won


def test_without_hybrid_a_lead_over_pmf_has_the_p_of_its_row() -> None:
    row = row_card("set", 0.3)
    row = replace(row, figures=replace(row.figures, p_vs_pmf={"ndcg@5": 0.004}))
    won, *_ = lines(score_card_of(row_card("pmf", 0.2), row))
    assert won.endswith("+50.0% on pmf (p 0.004).")


def test_a_lead_that_was_not_tested_says_so() -> None:
    won, *_ = lines(score_card_of(row_card("ease", 0.2), row_card("set", 0.3)))
    assert won.endswith("+50.0% on ease; how sure that is was not tested.")


def test_rows_that_find_nothing_have_a_winner_without_a_lead() -> None:
    won, *_ = lines(score_card_of(row_card("pmf", 0.0), row_card("pmf+text", 0.0)))
    assert won.startswith("Won: pmf, NDCG@5 0.0000 over 10 users; ")


def test_what_may_be_chance_is_said_and_to_be_settled() -> None:
    won, _, then = lines(real(row_card("pmf+text", 0.4), row_card("hybrid", 0.5), p=0.2))
    assert won.endswith(", p 0.200 after Holm: it may be chance).")
    assert "--seeds 5 --data songs.csv --protocol strict --run 'my run-seeds'" in then


def test_a_study_of_folds_is_settled_over_five_times_its_seeds() -> None:
    study = Standing.of_card(real(row_card("pmf+text", 0.4), row_card("hybrid", 0.5), p=0.2), 5)
    (*_, then) = three_lines(
        study._replace(seeds=2, over="10 run folders"), "cold", ("--data", "songs.csv")
    )
    assert "--seeds 10 --data songs.csv --protocol strict --run cold-seeds" in then


def test_what_text_did_is_told_pair_by_pair() -> None:
    row = row_card("pmf+text", 0.3)
    row.by_item_third["tail"] = figures(0.1)
    _, text, _ = lines(real(row_card("pmf", 0.2), row, row_card("text", 0.1)))
    assert text == (
        "Text, by NDCG@5: pmf+text +50.0% on pmf, recall of rare items 0.1000 after 0.2000; text"
        " alone reaches 0.1000."
    )


def test_rows_without_text_are_told_how_to_get_it() -> None:
    _, text, then = lines(real(row_card("pmf"), row_card("ease")))
    assert text.startswith("Text: no row that reads texts")
    assert "`jaxrec run --run 'my run' --row pmf --row pmf+text`" in then


def test_made_up_data_lead_to_ones_own() -> None:
    assert "--data YOURS" in lines(score_card_of(row_card("pmf")))[-1]


def test_nobody_to_judge_by_is_one_line() -> None:
    (line,) = lines(score_card_of(row_card("pmf", float("nan"))))
    assert line == "No row has an NDCG@5: no user has anything to find."


def test_a_core_is_that_of_the_further_splits() -> None:
    card = real(row_card("pmf+text", 0.4), row_card("hybrid", 0.5), p=0.2)
    data = ("--data", "songs.csv", "--core", "5")
    (*_, then) = three_lines(Standing.of_card(card, 5), "run", data)
    assert "--seeds 5 --data songs.csv --core 5 --protocol strict" in then
