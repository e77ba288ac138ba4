"""What is typed may be no text: paths of another encoding come as halves of letters."""

import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import cli
from tests.fuzz.options import commands, found

LATIN = os.fsdecode("café".encode("latin-1"))
EVERY = sorted(commands(cli.main))


def refused(*typed: str) -> str:
    """The last line, of status 2."""
    done = CliRunner().invoke(cli.main, typed)
    assert isinstance(done.exception, SystemExit), (typed, done.exception)
    assert done.exit_code == 2
    assert "Traceback" not in done.output
    return done.output.splitlines()[-1]


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_no_value_that_is_not_utf8_gets_to_work(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = found(words).params
    needed = [
        part
        for option in options
        if option.required
        for part in (*option.opts[:1] * isinstance(option, click.Option), "1")
    ]
    for option in options:
        if isinstance(option, click.Option) and not option.is_flag:
            told = refused(*words, *needed, option.opts[0], LATIN)
            assert "not in UTF-8; give another name" in told or "Invalid value for" in told


def test_a_file_of_such_a_name_is_refused_though_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / LATIN
    path.write_text("item\n1\n")
    told = refused("recommend", "--model", "m", "--user", "1", "--only", str(path))
    assert told.startswith("jaxrec: --only ")
    assert told.endswith("not in UTF-8; give another name")
    assert told.isascii()
