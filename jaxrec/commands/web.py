"""Serving over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from jaxrec.console import options as ask
from jaxrec.console.session import speaking
from jaxrec.errors import InputError

if TYPE_CHECKING:
    from jaxrec.console.terminal import Terminal


@click.command()
@ask.serve_options
@speaking()
def serve(
    terminal: Terminal,
    model: Path,
    host: str,
    port: int,
    token: str | None,
    token_file: Path | None,
    rate: int,
) -> None:
    """Answer over HTTP: lists, what is similar, titles, each with why and with OpenAPI at /docs.

    SIGHUP takes the model folder anew, SIGTERM ends when what is under way is done.
    """
    try:
        from jaxrec.web.guard import rules
        from jaxrec.web.server import serve
    except ModuleNotFoundError as missing:
        raise InputError(f"serving needs {missing.name}; pip install 'jaxrec[serve]'") from None
    if token_file is not None:
        token = token_file.read_text(encoding="utf-8", errors="replace").strip()
        if not token:
            raise InputError(f"{token_file} is empty; write a token into it")
    serve(model, host, port, rules(host, token, rate), terminal.say)
