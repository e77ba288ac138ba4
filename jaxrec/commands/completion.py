"""What makes a shell complete commands, options and their values."""

import click
from click.shell_completion import get_completion_class

PROGRAM = "jaxrec"


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
