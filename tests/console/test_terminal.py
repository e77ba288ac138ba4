"""Nothing said is garbled: names are printed as they are, tables whole, terminals not steered."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.table import Table

import cli
from jaxrec.console.characters import shown
from jaxrec.console.terminal import Terminal
from jaxrec.report.tables import table_of_rows

ROOT = Path(__file__).parents[2]
TITLE = "映画{n} [v2] é [/] :smile: \x1b[31m"
HEADINGS = tuple(f"NDCG@{k}" for k in range(1, 10))


def wide_table() -> Table:
    table = table_of_rows("a title that is far longer than twenty columns", HEADINGS)
    table.add_row("[bold]mf[/]", *["0.12345"] * len(HEADINGS))
    return table


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films with titles of all kinds, in a folder whose name looks like markup."""
    folder = tmp_path_factory.mktemp("data") / "映[v2]"
    folder.mkdir()
    titles = "\n".join(f"{n},{TITLE.format(n=n)},Drama" for n in range(1, 31))
    (folder / "movies.csv").write_text(f"movieId,title,genres\n{titles}\n", encoding="utf-8")
    ratings = "\n".join(
        f"{u},{1 + (7 * u + i) % 30},4.5,{i}" for u in range(1, 9) for i in range(9)
    )
    (folder / "ratings.csv").write_text(f"userId,movieId,rating,timestamp\n{ratings}\n")
    return folder


def jaxrec(data: Path, run: Path, *arguments: str, **environment: str) -> tuple[str, str]:
    """Standard output and error of a command that succeeds, as ASCII or Latin-1."""
    command = [sys.executable, "-m", "cli", *arguments, "--run", str(run), "--data", str(data)]
    own = os.environ | environment
    done = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    encoding = environment.get("PYTHONIOENCODING", "utf-8")
    return done.stdout.decode(encoding), done.stderr.decode(encoding)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_a_terminal_cannot_show_is_escaped(data: Path, tmp_path: Path, encoding: str) -> None:
    common = {"PYTHONIOENCODING": encoding, "COLUMNS": "20"}
    out, err = jaxrec(data, tmp_path, "eval", "--row", "popularity", "-k", "5", **common)
    assert r"\u6620[v2], protocol strict, seed 42" in out
    assert re.search(r"\|popularity\| *\d+\|0\.\d{4}\|", out)  # boxes of ASCII, whole figures
    assert r"\u6620[v2], 8 users, 30 items" in err
    out, _ = jaxrec(data, tmp_path, "recommend", "--row", "popularity", "--user", "1", **common)
    e = r"\xe9" if encoding == "ascii" else "é"
    assert rf" [v2] {e} [/] :smile: \x1b[31m" in out
    assert r"\u6620\u753b" in out


def test_titles_are_printed_as_they_are_and_steer_nothing(data: Path, tmp_path: Path) -> None:
    out, _ = jaxrec(
        data, tmp_path, "recommend", "--row", "popularity", "--user", "1",
        PYTHONIOENCODING="utf-8",
    )  # fmt: skip
    assert r" [v2] é [/] :smile: \x1b[31m" in out
    assert "\x1b" not in out


def test_a_mistake_with_such_a_name_stays_one_line(data: Path, tmp_path: Path) -> None:
    user = "\x1b[2Jü\n"
    command = [sys.executable, "-m", "cli", "recommend", "--row", "popularity", "--user", user]
    done = subprocess.run(
        [*command, "--run", str(tmp_path), "--data", str(data), "-q"], cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.decode("ascii").splitlines()
    assert r"\x1b[2J\xfc" in line


def test_what_is_no_terminal_gets_whole_tables(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    Terminal(0).result(wide_table())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "a title that is far longer than twenty columns"
    assert lines[2].count("NDCG@") == len(HEADINGS)
    assert lines[4].count("0.12345") == len(HEADINGS)
    assert "[bold]mf[/]" in lines[4]


def on_a_terminal(code: str, **environment: str) -> str:
    """What a program prints on a terminal."""
    ours, theirs = pty.openpty()
    own = os.environ | {"TERM": "xterm", "PYTHONIOENCODING": "utf-8"} | environment
    code = f"from tests.console.test_terminal import *; {code}"
    subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=own, check=True, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    found = b""
    try:
        while part := os.read(ours, 4096):
            found += part
    except OSError:
        pass  # so a terminal ends
    return found.decode()


@pytest.mark.skipif(os.name == "nt", reason="POSIX terminals")
@pytest.mark.parametrize(("columns", "shown"), [(20, 2), (40, 3), (60, 5), (90, 9)])
def test_a_narrow_terminal_gets_fewer_columns_and_whole_figures(columns: int, shown: int) -> None:
    found = on_a_terminal("Terminal(0).result(wide_table())", COLUMNS=str(columns))
    assert found.count("0.12345") == shown
    left_out = ", ".join(HEADINGS[shown:])
    assert (f"(a wider terminal shows {left_out})" in found) is (shown < len(HEADINGS))
    assert "…" not in found


@pytest.mark.skipif(os.name == "nt", reason="POSIX terminals")
def test_no_color_is_respected() -> None:
    code = (
        "terminal = Terminal(0); terminal.result(wide_table());"
        " bar = terminal.sweeps('fit', 1); bar.__enter__()(1, 0.5); bar.__exit__(*[None] * 3)"
    )
    colour = re.compile("\x1b" + r"\[(?:[0-9;]*;)?(?:3[0-8]|9[0-7])[;m]")
    assert colour.search(on_a_terminal(code))
    assert not colour.search(on_a_terminal(code, NO_COLOR="1"))


def test_a_bar_shows_its_description_as_it_is(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    with Terminal(0).sweeps("[v2] \x1b[31m [/]", 3, "NDCG@25 [of]") as on_sweep:
        on_sweep(3, 0.12345)
    told = capsys.readouterr().err
    assert r"[v2] \x1b[31m [/]" in told
    assert "NDCG@25 [of] 0.12345" in told


@pytest.mark.parametrize(
    ("line", "encoding", "expected"),
    [
        ("a\tb\n\x9b\u2028\u202e", "utf-8", r"a\tb\n\x9b\u2028\u202e"),
        ("half a pair \ud83d", "utf-8", r"half a pair \ud83d"),
        ("ü映", "latin-1", r"ü\u6620"),
        ("ü映", "no such encoding", r"\xfc\u6620"),
        ("映画", "utf-8", "映画"),
    ],
)
def test_characters(line: str, encoding: str, expected: str) -> None:
    assert shown(line, encoding) == expected


def test_a_mistake_that_quotes_megabytes_stays_readable(tmp_path: Path) -> None:
    table = tmp_path / "ratings.csv"
    table.write_text(f"user,item,rating\nu1,i1,3\nu2,i2,{'9x' * 10**6}\n")
    done = CliRunner().invoke(cli.main, ["data", "inspect", str(table), "-q"])
    assert (done.exit_code, len(done.output.splitlines())) == (2, 1)
    assert len(done.output) < 2100
    assert done.output.startswith(f"jaxrec: {table}, line 3: rating is '9x9x")
    assert done.output.endswith("; expected a number\n")


@pytest.mark.skipif(os.name == "nt", reason="POSIX")
@pytest.mark.timeout(60)
def test_pipes_and_devices_are_no_data(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    for place in (pipe, Path("/dev/zero")):
        done = CliRunner().invoke(cli.main, ["data", "inspect", str(place)])
        expected = f"{place}: neither a file nor a folder; write what comes out of it into a file"
        assert (done.exit_code, done.output) == (2, f"jaxrec: {expected}\n")


def test_of_sweeps_that_go_on_at_once_each_is_drawn_once_as_it_ends(
    capsys: pytest.CaptureFixture[str],
) -> None:
    terminal = Terminal(0)
    with terminal.sweeps("first", 2) as on_first:
        with terminal.sweeps("second", 3, "NDCG@25") as on_second:
            on_second(3, 0.25)
        terminal.say("between")
        on_first(2, 0.5)
    with terminal.sweeps("third", 1) as on_third:
        on_third(1, 0.75)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    ends = [f"{line.split()[0]} {' '.join(line.split()[2:-1])}".strip() for line in lines]
    assert ends == ["second NDCG@25 0.25", "between", "first loss 0.5", "third loss 0.75"]
