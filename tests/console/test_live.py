"""Rows while they are measured: a table on a terminal, lines elsewhere, nothing with -q."""

import io
from contextlib import suppress
from dataclasses import replace

import pytest

from jaxrec.budget import Cost, Stage
from jaxrec.console.live import left_in_words, rows_told, seconds_left, table
from jaxrec.console.terminal import Plain, Terminal

EASE = Stage("ease", Cost(1.4e9, 50, 10))
PMF = Stage("pmf", Cost(2e7, 20, 0))
TEXT = Stage("text", Cost(2e7, 40, 0))
FIGURES = {"precision@5": 0.12345, "ndcg@5": 0.5, "precision@1": 0.9, "ndcg@1": 0.9}


def begun(stage: Stage) -> Stage:
    return replace(stage, under_way=True)


def over(stage: Stage, took: float) -> Stage:
    return replace(stage, took=took, metrics=FIGURES)


def lost(stage: Stage, why: str) -> Stage:
    return replace(stage, absent=why)


def printed(stages: list[Stage], spent: float = 0.0, width: int = 100) -> list[str]:
    console = Plain(file=io.StringIO(), width=width)
    console.print(table(stages, spent, k=5))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_row_says_what_it_takes_then_what_it_reached_and_took() -> None:
    heading, *rows = printed([over(EASE, 58.3), begun(PMF), TEXT], spent=12)
    assert heading.split() == ["row", "memory", "time", "P@5", "NDCG@5"]
    assert [" ".join(row.split()) for row in rows] == [
        "ease 1.4 GB 60 s 0.1235 0.5000 took 58 s",
        "pmf 20 MB 20 s 12 s so far",
        "text 20 MB 40 s",
    ]


def test_an_absent_row_says_why_as_far_as_there_is_room() -> None:
    why = "it takes about 9.0 GB, and 6.2 GB are allowed; give --memory 9000 \x1b[2J 映"
    _, row = printed([lost(EASE, why)], width=50)
    assert len(row) <= 50
    assert "absent: it takes" in row
    assert "…" not in row  # not every terminal can show it
    _, whole = printed([lost(EASE, why)], width=200)
    assert r"give --memory 9000 \x1b[2J 映" in whole


def test_what_is_left_shrinks_and_follows_the_pace() -> None:
    assert seconds_left([EASE, PMF, TEXT], 0) == 120
    assert seconds_left([begun(EASE), PMF, TEXT], 25) == 95
    assert seconds_left([begun(EASE), PMF, TEXT], 1000) == 60  # late, but not less than nothing
    fast, slow = 40 / 70, 50 / 30  # seconds over those expected, ten of both beforehand
    found = seconds_left([over(EASE, 30), begun(PMF), TEXT], 4)
    assert found == pytest.approx(fast * 60 - 4)
    assert seconds_left([lost(EASE, "no"), over(PMF, 40), TEXT], 0) == pytest.approx(slow * 40)
    hasty = over(Stage("popularity", Cost(0, 0.01, 0)), 2.0)  # two hundred times as long
    assert seconds_left([hasty, TEXT], 0) < 50
    failed = replace(lost(EASE, "no"), took=1.0)  # says nothing of the pace
    assert seconds_left([failed, TEXT], 0) == 40


def test_what_is_left_in_words() -> None:
    assert left_in_words([EASE, PMF, TEXT], 0) == "about 2 min left"
    assert left_in_words([over(EASE, 60), over(PMF, 20), lost(TEXT, "no")], 0) == ""


STORY = [EASE, PMF, TEXT, begun(EASE), over(EASE, 58), begun(PMF), lost(PMF, "no memory")]


def told(terminal: Terminal) -> None:
    with rows_told(terminal, 5) as on_row:
        for stage in STORY:
            on_row(stage)


@pytest.mark.parametrize(
    ("verbosity", "lines"),
    [
        (-1, []),
        (0, ["ease: takes about 1.4 GB and 60 s", "pmf: takes about 20 MB and 20 s"]),
        (
            1,
            [
                "ease: takes about 1.4 GB and 60 s",
                "ease: P@5 0.1235, NDCG@5 0.5000, took 58 s",
                "pmf: takes about 20 MB and 20 s",
                "pmf is absent: no memory",
            ],
        ),
    ],
)
def test_what_is_no_terminal_gets_lines(
    capsys: pytest.CaptureFixture, verbosity: int, lines: list[str]
) -> None:
    told(Terminal(verbosity))
    out, err = capsys.readouterr()
    assert (out, err.splitlines()) == ("", lines)


def on_a_terminal(verbosity: int) -> tuple[Terminal, io.StringIO]:
    """A terminal of 100 columns, and what it gets."""
    shows, terminal = io.StringIO(), Terminal(verbosity)
    terminal.err = Plain(
        file=shows, force_terminal=True, force_interactive=True, width=100, height=30, _environ={}
    )
    return terminal, shows


def test_a_terminal_gets_one_table_after_the_bar_of_a_fit() -> None:
    terminal, shows = on_a_terminal(0)
    with terminal.sweeps("PMF", 3) as on_sweep:
        on_sweep(3, 0.5)
    told(terminal)
    last = shows.getvalue().rpartition("P@5")[2]
    assert "0.1235" in last
    assert "took 58 s" in last
    assert "absent: no memory" in last
    assert "about 39 s left" in last  # of text, as ease kept to its estimate
    assert "takes about" not in shows.getvalue()


def test_a_table_ends_with_an_interruption_and_what_is_said_goes_above_it() -> None:
    terminal, shows = on_a_terminal(0)
    with suppress(KeyboardInterrupt), rows_told(terminal, 5) as on_row:
        on_row(EASE)
        terminal.say("something else")
        raise KeyboardInterrupt
    assert shows.getvalue().index("something else") < shows.getvalue().rindex("ease")
    terminal.say("after")
    assert shows.getvalue().endswith("after\n")  # nothing is drawn any more


def test_a_quiet_terminal_gets_nothing() -> None:
    terminal, shows = on_a_terminal(-1)
    told(terminal)
    assert shows.getvalue() == ""
