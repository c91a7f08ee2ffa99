"""`kpiaudit completion`: what makes the Tab key complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import ShellComplete, get_completion_class

from kpiaudit.cli.writing import write


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of a shell.

    For bash, add to ~/.bashrc: eval "$(kpiaudit completion bash)"

    For zsh, add to ~/.zshrc, after compinit: eval "$(kpiaudit completion zsh)"

    For fish, add to ~/.config/fish/config.fish: kpiaudit completion fish | source
    """
    from kpiaudit.cli.run import cli

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"There is no completion for {shell}.")
    # Not the shell's own way: for bash that would run a bash to ask for its version.
    script = ShellComplete.source(kind(cli, {}, "kpiaudit", "_KPIAUDIT_COMPLETE"))
    write(script, None)
