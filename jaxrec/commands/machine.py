"""The machine and the shell: what is installed and whether that does, what completes a command."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from jaxrec.console import options as ask
from jaxrec.console.characters import shown
from jaxrec.console.outputs import refuse_outputs
from jaxrec.console.session import stop
from jaxrec.errors import InputError

PROGRAM = "jaxrec"


@click.command()
@ask.json_option("what was found")
@click.option("--clean", is_flag=True, help="First empty jaxrec's own caches.")
def doctor(json_path: Path | None, clean: bool) -> None:
    """Say what is installed and found here, and what is wrong; then the exit status is 1.

    An extra that is absent is not wrong.
    """
    from jaxrec.files import write_json
    from jaxrec.health.examination import examine, in_words

    try:  # without what other commands speak by, which may be what is missing
        refuse_outputs(click.get_current_context())
    except InputError as error:
        stop(str(error), 2)
    said = _emptied() if clean else []
    found, wrong = examine()
    for line in [*said, *in_words(found), *(f"WRONG: {line}" for line in wrong)]:
        _say(line)
    if json_path is not None:
        write_json(json_path, found)
    if wrong:
        sys.exit(1)
    _say("all well")


def _emptied() -> list[str]:
    """Empty jaxrec's own caches; what others keep among its data sets stays. Returns lines."""
    from jaxrec.caches import cache, emptied

    of_ours = {"compiled": ["*"], "data": [".download-*"]}
    said = []
    try:
        from jaxrec.sources.library import RELEASES

        of_ours["data"] += RELEASES
    except ImportError as error:
        said.append(f"cache of data: which are jaxrec's is not known ({error})")
    for kind, names in of_ours.items():
        try:
            count = emptied(folder := cache(kind), names)
        except ImportError as error:
            said.append(f"cache of {kind}: where it is is not known ({error})")
            continue
        except OSError as error:
            stop(f"{error.filename}: {error.strerror}; remove it yourself", 1)
        if count is None:
            said.append(f"cache of {kind}: {folder} is a link and stays; empty it yourself")
        else:
            said.append(f"cache of {kind}: {count:,} bytes removed from {folder}")
    return said


def _say(line: str) -> None:
    click.echo(shown(line, getattr(sys.stdout, "encoding", None) or "ascii"))


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes a shell complete jaxrec's commands, options and values.

    \b
    bash: eval "$(jaxrec completion bash)"                in ~/.bashrc
    zsh:  eval "$(jaxrec completion zsh)"                 in ~/.zshrc, after compinit
    fish: jaxrec completion fish > ~/.config/fish/completions/jaxrec.fish
    """
    of_shell = get_completion_class(shell)
    assert of_shell is not None
    main = context.find_root().command
    # not `source()`: that of bash runs bash to look at its version, and a script is made anywhere
    made = of_shell(main, {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE")
    click.echo(made.source_template % made.source_vars())
