"""`jaxrec data inspect`, and `--data` of what it wrote."""

import json
import os
import re
import threading
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import cli
from tests.sources.formats import FORMATS


def jaxrec(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, [str(argument) for argument in arguments])


def test_what_cannot_be_measured_has_no_estimate(tmp_path: Path) -> None:
    data = tmp_path / "tiny.csv"
    out = tmp_path / "tiny.toml"
    data.write_text("user,item\na,x\nb,y\n")
    *_, told = jaxrec("data", "inspect", data, "--out", out, "-q").output.splitlines()
    assert told.startswith("`jaxrec run` has nobody to measure by: strict holds out a fifth of")
    data.write_text("user,item\n" + "".join(f"a,{item}\n" for item in range(5)))
    done = jaxrec("data", "inspect", data, "--out", out, "-q", "--force")
    assert "strict: 4 train and 1 test interactions, 1 users evaluated" in done.output
    assert re.search(r"`jaxrec run` takes about [\d.]+ GB and [1-9] min", done.output)


def test_inspect_says_what_it_understood_and_writes_it_down(tmp_path: Path) -> None:
    path, truth = FORMATS["Goodbooks"](tmp_path)
    out, machine = tmp_path / "mine.toml", tmp_path / "found.json"
    done = jaxrec("data", "inspect", path, "--out", out, "--json", machine)
    assert done.exit_code == 0, done.output
    for line in (
        "columns: user = user_id, item = book_id, value = rating",
        "feedback: stars from 1 to 5, liked from 4, disliked below 3",
        "times: unknown",
        "files: ratings.csv, books.csv; not read: book_tags.csv, to_read.csv",
        "mended: nothing",
        "temporal: the data have no times",
    ):
        assert line in done.output
    found = json.loads(machine.read_text())
    assert (found["users"], found["items"], found["interactions"]) == (30, 50, len(truth.rows))
    assert found["feedback"] == "stars"
    assert found["protocols"]["strict"]["users_evaluated"] > 20
    assert 'text = "{title} {authors}"  # what an encoder reads' in out.read_text()
    again = jaxrec("data", "inspect", out, "--json", machine, "--out", tmp_path / "again.toml")
    assert again.exit_code == 0, again.output
    assert json.loads(machine.read_text()) == found | {"source": str(out), "files_not_read": []}


def test_a_core_that_was_described_is_cut_to_and_written_again(tmp_path: Path) -> None:
    path, _ = FORMATS["Goodbooks"](tmp_path)
    first, again = tmp_path / "first.toml", tmp_path / "again.toml"
    jaxrec("data", "inspect", path, "--out", first)
    assert "\n# core = 5  # leave out users and items with fewer" in first.read_text()
    first.write_text(first.read_text().replace("\n# core = 5", "\ncore = 6"))
    done = jaxrec("data", "inspect", first, "--out", again)
    assert "mended: core 6: " in done.output
    assert tomllib.loads(again.read_text())["core"] == 6


def test_what_is_made_from_a_seed_has_no_files(tmp_path: Path) -> None:
    done = jaxrec("data", "inspect", "synthetic", "--out", tmp_path / "x.toml")
    assert done.exit_code == 2
    assert "synthetic is made from a seed" in done.output


def test_a_description_that_was_edited_is_kept(tmp_path: Path) -> None:
    path, _ = FORMATS["JSON lines"](tmp_path)
    out = tmp_path / "dataset.toml"
    out.write_text("# mine\n")
    done = jaxrec("data", "inspect", path, "--out", out)
    assert done.exit_code == 0
    assert "is there, and kept (--force)" in done.output
    assert out.read_text() == "# mine\n"
    jaxrec("data", "inspect", path, "--out", out, "--force")
    assert 'user = "user"' in out.read_text()


def test_what_was_guessed_wrong_can_be_said(tmp_path: Path) -> None:
    loans = [f"{user},{user * n % 7},{n},0\n" for user in range(9) for n in range(1, 4)]
    (tmp_path / "loans.csv").write_text("".join(["who,which,times_lent,first\n", *loans]))
    books = [f"{number},Book {number}\n" for number in range(7)]
    (tmp_path / "books.csv").write_text("".join(["shelf,words\n", *books]))
    refused = jaxrec("data", "inspect", tmp_path / "loans.csv", "--out", tmp_path / "x.toml")
    assert refused.exit_code == 2
    assert "which column is the user? there are who, which, times_lent, first" in refused.output
    done = jaxrec(
        "data", "inspect", tmp_path / "loans.csv", "--items", tmp_path / "books.csv",
        "--columns", "user=who,item=which,value=times_lent", "--text", "the book {words}",
        "--out", tmp_path / "x.toml",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "users: 9, " in done.output
    assert "texts: the book {words}; 0 items have none, 7 differ" in done.output


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("user", "'user' is not ROLE=COLUMN"),
        ("user=nobody", "no column 'nobody'; there are user, item, rating, ts"),
        ("reader=user", "no role 'reader' of columns; there are user, item, value, time"),
    ],
)
def test_columns_that_are_not_there_are_refused(tmp_path: Path, columns: str, message: str) -> None:
    path, _ = FORMATS["JSON lines"](tmp_path)
    done = jaxrec("data", "inspect", path, "--columns", columns, "--out", tmp_path / "x.toml")
    assert done.exit_code == 2
    assert message in done.output
    assert not (tmp_path / "x.toml").exists()


@pytest.mark.usefixtures("small_synthetic")
def test_a_run_goes_on_with_data_that_were_described_and_strictly_read(tmp_path: Path) -> None:
    path, _ = FORMATS["Last.fm 2K (user_artists.dat)"](tmp_path)
    out, run = tmp_path / "dataset.toml", tmp_path / "run"
    jaxrec("data", "inspect", path, "--out", out)
    done = jaxrec("eval", "--run", run, "--data", out, "--row", "popularity", "-k", 5)
    assert done.exit_code == 0, done.output
    again = jaxrec("eval", "--run", run, "--row", "popularity", "-k", 5, "--strict-input")
    assert again.exit_code == 0, again.output
    plays = tmp_path / "user_artists.dat"
    plays.write_text(plays.read_text() + "1\t1\t\n")
    refused = jaxrec("eval", "--run", run, "--strict-input")
    assert refused.exit_code == 2
    assert "user_artists.dat, line " in refused.output
    assert "no value" in refused.output


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_a_description_is_written_through_a_pipe(tmp_path: Path) -> None:
    path, _ = FORMATS["JSON lines"](tmp_path)
    pipe, read = tmp_path / "pipe", list[str]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    done = jaxrec("data", "inspect", path, "--out", pipe)
    assert done.exit_code == 0, done.output
    reader.join()
    assert tomllib.loads(read[0])["interactions"]["files"] == [str(path)]  # wherever it ends
