"""Options of every command, with values that nobody would give; no command gets to long work."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import click
from click.testing import CliRunner

import cli
from tests.fuzz.drawing import READ, REFUSED, Attempt, text

NEVER = {"completion", "doctor"}
"""Commands that take no data, and do their work whatever they are asked."""
BROKEN = "user,item\nu\n"
"""A table that every command refuses."""


def commands(group: click.Group, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command, by its words."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*above, name))
        elif name not in NEVER:
            yield (*above, name)


def found(words: tuple[str, ...]) -> click.Command:
    """The command of these words."""
    command: click.Command = cli.main
    for word in words:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    return command


@contextmanager
def of_commands(folder: Path) -> Iterator[Attempt]:
    """Ends in a line and status 2, or in help."""
    (folder / "broken.csv").write_text(BROKEN)
    (folder / "folder").mkdir()
    (folder / "loop").symlink_to(folder / "loop")
    every = sorted(commands(cli.main))

    def attempt(draw: Random) -> str:
        words = draw.choice(every)
        command, asked = found(words), list[str]()
        for option in command.params:
            needed = option.required or option.name in ("data", "path", "model", "run")
            if needed or draw.random() < 0.15:
                asked += _given(draw, option, folder)
        for _ in range(draw.choice((0, 0, 0, 1))):
            asked.insert(draw.randrange(len(asked) + 1), text(draw))
        asked = [part.replace("\0", "") for part in asked]  # as every system does
        done = CliRunner().invoke(cli.main, [*words, *asked])
        if isinstance(done.exception, SystemExit) or done.exception is None:
            assert done.exit_code in (0, 2), (done.exit_code, words, asked)
            assert "Traceback" not in done.output
            return READ if done.exit_code == 0 else REFUSED
        raise AssertionError(f"{words} {asked}") from done.exception

    yield attempt


def _given(draw: Random, option: click.Parameter, folder: Path) -> list[str]:
    """An option with a value, or an argument."""
    name = draw.choice(option.opts + option.secondary_opts)
    flag = isinstance(option, click.Option) and option.is_flag
    if flag and draw.random() < 0.95:
        return [name]
    given = _value(draw, option, folder)
    return [given] if isinstance(option, click.Argument) else [name, given]


def _value(draw: Random, option: click.Parameter, folder: Path) -> str:
    """Of data and places only what is not there, or what nobody can read; of the rest anything."""
    places = (
        "nowhere",
        "broken.csv",
        "folder",
        "loop",
        "loop/x",
        "a" * 300,
        "nowhere.csv",
        "x.json",
    )
    if option.name in ("data", "path", "model", "run", "runs", "out") or isinstance(
        option.type, click.Path
    ):
        name = draw.choice((*places, text(draw).replace("/", "-").replace("\0", "")))
        return str(folder / (name or "x"))
    if isinstance(option.type, click.Choice) and draw.random() < 0.7:
        return str(draw.choice(list(option.type.choices)))
    return draw.choice((text(draw), str(draw.randrange(-1, 30)), "0.5", "nan", "inf", "1e999"))
