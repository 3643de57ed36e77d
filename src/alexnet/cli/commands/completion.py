"""`alexnet completion`."""

from typing import Literal

from alexnet.cli.options import Answer


def completion(shell: Literal["bash", "zsh", "fish"], /) -> Answer:
    """Print what makes a shell complete commands, options and file names.

    Write it where the shell looks for it, and open another terminal:

      bash  ~/.local/share/bash-completion/completions/alexnet
      zsh   _alexnet, in a folder of $fpath
      fish  ~/.config/fish/completions/alexnet.fish

    Example:
      alexnet completion fish

    Args:
        shell: Shell that is to read it.
    """
    from alexnet.cli import COMMANDS
    from alexnet.cli import completion as module

    return {"shell": shell, "script": module.script(COMMANDS, shell)}, lambda result: result["script"].rstrip("\n")
