"""Makes a command one that several processes can share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from jaxrec.hosts.launch import joined, place_of

if TYPE_CHECKING:
    from jaxrec.console.session import Session

COMMON = (
    "--run", "--data", "--protocol", "--seed", "--strict-input", "--core", "-v", "-q",
    "--coordinator", "--processes", "--process",
)  # fmt: skip
"""Options that mean the same in every command, whoever shares it."""


def shared_by(work: str, *options: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options of a launch; where the process is one of several, `work` is what it does.

    Args:
        work: `module.function` of `jaxrec.hosts`, imported when it is needed: given the session,
            the place, and the command's options.
        options: those of the command that several processes know, beside `COMMON`; without any,
            all of them.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @click.option(
            "--coordinator",
            metavar="HOST:PORT",
            help="Of several processes: where process 0 is to be found.",
        )
        @click.option("--processes", type=click.IntRange(min=1), help="How many there are.")
        @click.option("--process", type=click.IntRange(min=0), help="Which this is, from 0.")
        @functools.wraps(command)
        def wrapped(
            session: Session,
            coordinator: str | None,
            processes: int | None,
            process: int | None,
            **given: Any,
        ) -> None:
            place = place_of(coordinator, processes, process)
            if place.processes == 1:
                command(session, **given)
                return
            if options:
                _refuse_others((*COMMON, *options))
            if not place.speaks:
                session.terminal.verbosity = -1
            module, _, name = work.partition(".")
            with joined(place):
                getattr(import_module(f"jaxrec.hosts.{module}"), name)(session, place, **given)

        return wrapped

    return decorate


def _refuse_others(known: tuple[str, ...]) -> None:
    """Refuse options that were given and are for one process alone."""
    context = click.get_current_context()
    for option in context.command.params:
        given = context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if given and not {*option.opts} & {*known}:
            raise click.UsageError(f"{option.opts[0]} is not for several processes")
