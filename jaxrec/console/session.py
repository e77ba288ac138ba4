"""What every command shares: the run folder it is about, how it speaks, how it ends."""

import functools
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from jaxrec.console.characters import shown
from jaxrec.console.completion import data_sets
from jaxrec.console.outputs import refuse_outputs
from jaxrec.errors import InputError, excuse, refused
from jaxrec.interruption import GOES_ON, status, told

if TYPE_CHECKING:
    from jaxrec.console.terminal import Terminal

HALVES = re.compile("[\ud800-\udfff]")
"""Of characters: what Python makes of bytes of the command line that are no text."""
LONGEST = 2000
"""Characters of a line that a command ends with."""
Decorator = Callable[[Callable[..., None]], Callable[..., None]]
Mistakes = Callable[[], tuple[type[Exception], ...]]
"""The exceptions that a user can mend; asked for late, since that imports packages."""


@dataclass(frozen=True)
class Session:
    """The experiment that a command was asked for, and where to speak."""

    path: Path
    """The run folder, there or not."""
    data: str | None
    protocol: str | None
    seed: int | None
    terminal: "Terminal"
    strict: bool = False
    """Refuse data of which something is to be mended?"""
    core: int | None = None
    """To which the data are cut."""


strict_option = click.option(
    "--strict-input",
    "strict",
    is_flag=True,
    help="Refuse data of which something would have to be mended.",
)


def of_jaxrec() -> tuple[type[Exception], ...]:
    """What a user can mend where torch has no part."""
    return (InputError,)


def speaking(
    mistakes: Mistakes = of_jaxrec,
) -> Decorator:
    """Add -v and -q, and give the command a `Terminal`; a mistake ends in one line and status 2."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @click.option("-v", "--verbose", is_flag=True, help="Say more.")
        @click.option("-q", "--quiet", is_flag=True, help="Say nothing but results.")
        @functools.wraps(command)
        def wrapped(verbose: bool, quiet: bool, **options: Any) -> None:
            from jaxrec.console.terminal import Terminal

            _prepare_jax()
            try:
                _refuse_bytes(click.get_current_context())
                refuse_outputs(click.get_current_context())
                with _interruptible():
                    command(Terminal(int(verbose) - int(quiet)), **options)
            except mistakes() as error:
                stop(str(error), 2)
            except (MemoryError, RuntimeError) as error:
                if (why := excuse(error)) is None:
                    raise
                stop(why, 2)
            except OSError as error:
                stop(refused(error), 2)

        return wrapped

    return decorate


def on_run_folder(
    mistakes: Mistakes = of_jaxrec,
) -> Decorator:
    """Add the options that mean the same everywhere and give the command a `Session`."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @click.option(
            "--run",
            "path",
            type=click.Path(file_okay=False, path_type=Path),
            default=Path("jaxrec-run"),
            show_default=True,
            help="Folder of the experiment; made if absent.",
        )
        @click.option(
            "--data",
            shell_complete=data_sets,
            help="Name, dataset.toml, folder or table of the data set.  [default: ml-latest-small]",
        )
        @strict_option
        @click.option(
            "--core",
            type=click.IntRange(min=1),
            help="Leave out users and items with fewer interactions, until all have so many.",
        )
        @click.option(
            "--protocol",
            type=click.Choice(
                [
                    "strict",
                    "published",
                    "temporal",
                    "temporal-user",
                    "leave-one-out",
                    "cold-items",
                    "cold-users",
                ]
            ),
            help="Evaluation protocol.  [default: strict]",
        )
        @click.option(
            "--seed", type=click.IntRange(0, 2**31), help="Of split and fit.  [default: 42]"
        )
        @speaking(mistakes)
        @functools.wraps(command)
        def wrapped(
            terminal: "Terminal",
            path: Path,
            data: str | None,
            strict: bool,
            core: int | None,
            protocol: str | None,
            seed: int | None,
            **options: Any,
        ) -> None:
            command(Session(path, data, protocol, seed, terminal, strict, core), **options)

        return wrapped

    return decorate


def _refuse_bytes(context: click.Context) -> None:
    """Raise InputError for a value that is no text: files of such names cannot all be opened."""
    for option in context.command.params:
        value = context.params.get(option.name or "")
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, str | Path) and HALVES.search(str(one)):
                raise InputError(f"{option.opts[0]} {one}: not in UTF-8; give another name")


def stop(line: str, status: int) -> NoReturn:
    """End the command with one line on standard error."""
    encoding = getattr(sys.stderr, "encoding", None) or "ascii"
    if len(line) > LONGEST:  # it quotes somebody's field; what to do comes last
        line = f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"
    click.echo(f"jaxrec: {shown(line, encoding)}", err=True)
    sys.exit(status)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Around a command: whatever comes after it was told to end comes of that."""
    try:
        yield
    except (KeyboardInterrupt, Exception) as error:
        if not isinstance(error, KeyboardInterrupt) and not told():
            raise
        stop(f"interrupted; {GOES_ON}", status())


@contextmanager
def resumable(remedy: str = "try a larger --lambda") -> Iterator[None]:
    """Around a fit that goes on when asked again; `remedy` mends what is not finite."""
    try:
        yield
    except KeyboardInterrupt:
        stop(f"interrupted; {GOES_ON}", status())
    except FloatingPointError as error:
        stop(f"{error}; {remedy}", 1)


def _prepare_jax() -> None:
    """Let JAX find what an earlier command compiled, and leave torch its part of a GPU's memory.

    Read when JAX is imported, later on.
    """
    from jaxrec.caches import COMPILED, cache

    os.environ.setdefault(COMPILED, str(cache("compiled")))
    # the small programs too: a dozen of them are half a second of a command that takes three
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    # where there is no place for programs they are compiled anew; `jaxrec doctor` says where it is
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
