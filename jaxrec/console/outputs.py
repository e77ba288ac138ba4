"""Files that a command is asked to write: what cannot be is refused before any work is done."""

import os
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path

import click

from jaxrec.errors import InputError
from jaxrec.files import TO_WRITE, is_stream, owner_of, real

READ = ("--data", "--items", "PATH", "--only", "--exclude", "--interactions", "--segments")
"""What a command reads, where it does."""


class Output(click.Path):
    """A file to be written, in the format that its suffix names.

    A stream (see `jaxrec.files`) may do without a suffix: it gets the first format.
    """

    def __init__(self, *suffixes: str):
        super().__init__(readable=False, path_type=Path)
        self.name = "file"
        self.suffixes = suffixes


def refuse_outputs(context: click.Context) -> None:
    """Refuse what the command is asked to write where it could not, or must not.

    What is left is known (`TO_WRITE`) to what reads tables, until the command ends: it refuses to
    read them.

    Raises:
        InputError: an `Output` has another suffix than its own, cannot be written, is written or
            read by another option too, or lies in a run folder or model folder.
    """
    options = {_called(option): option for option in context.command.params}
    given = {name: context.params.get(option.name or "") for name, option in options.items()}
    taken = {real(path): name for name in READ if (path := given.get(name)) is not None}
    for name, option in options.items():
        path = given[name]
        if not isinstance(option.type, Output) or path is None:
            continue
        place, runs = real(path), given.get("--run") or ()
        runs = runs if isinstance(runs, tuple) else (runs,)
        why = _unsuitable(path, option.type.suffixes) or _owned(place, [*map(real, runs)])
        # a description may take the place of the one that was read
        if why is None and place in taken and not (taken[place] in READ and path.suffix == ".toml"):
            why = f"{taken[place]} names the same file; give another"
        if why is not None:
            raise InputError(f"{name} {path}: {why}")
        taken[place] = TO_WRITE[place] = name
        context.call_on_close(partial(TO_WRITE.pop, place, None))


def _called(option: click.Parameter) -> str:
    return option.opts[0] if isinstance(option, click.Option) else option.human_readable_name


def _unsuitable(path: Path, suffixes: tuple[str, ...]) -> str | None:
    """Why no file of these formats can be written there, if so; it leaves no trace."""
    streams = is_stream(path)
    try:
        if path.is_dir():
            return "a folder; name a file in it"
        if path.suffix.lower() not in suffixes and not (streams and path.suffix == ""):
            return f"give a name that ends in {' or '.join(suffixes)}"
        if streams and not (path.is_file() or path.is_fifo() or path.is_char_device()):
            return "neither a file nor a pipe; give another place"
        if not streams:
            _try_to_write(real(path))
        elif not os.access(path, os.W_OK):
            return "it may not be written to; give another place"
    except OSError as error:
        return f"cannot be written ({error.strerror}); give another place"
    return None


def _try_to_write(place: Path) -> None:
    """Raise OSError if no file can be made there, with the folders that it needs."""
    with suppress(FileNotFoundError):
        place.stat()  # of links in a circle, of a name that is too long
    folder = next(folder for folder in place.parents if os.path.lexists(folder))
    tempfile.TemporaryFile(dir=folder).close()


def _owned(place: Path, runs: list[Path]) -> str | None:
    """Why a place is not for others to write to, if so."""
    for run in runs:
        if run in (place, *place.parents):
            return f"in the run folder {run}, which only jaxrec writes; give a place outside it"
    owner = owner_of(place)
    return None if owner is None else f"in {owner}; give a place outside it"
