"""Shells complete what the program understands, in bash and fish as they do it themselves."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from alexnet.cli import COMMANDS, main
from alexnet.cli.completion import Shell, script
from alexnet.networks import NETWORKS
from alexnet.recipes import RECIPES

CASES = {
    "alexnet pre": {"predict", "prepare"},
    "alexnet ": {*COMMANDS},
    "alexnet predict runs/mine im": {"images"},
    "alexnet predict runs/mine images/dog.jpg im": {"images"},  # any number of images
    "alexnet predict runs/mine images/dog.jpg --pan": {"--panel"},
    "alexnet evaluate runs/mine --data im": {"images"},
    "alexnet export runs/mine out --to ": {"onnx", "torchvision", "safetensors", "brainscore"},
    "alexnet prepare images store --size 3 --worker": {"--workers"},
    "alexnet train store run --recipe ": {*RECIPES},
    "alexnet train store run --network ": {*NETWORKS},
    "alexnet train store run --network.activation ": {"relu", "tanh"},
    "alexnet train store run --augment.no-mir": {"--augment.no-mirror"},
    "alexnet completion ": {*get_args(Shell)},
}
"""What is typed, and what the tab key offers."""
BASH = """
source alexnet.bash
while IFS= read -r line; do
    read -ra COMP_WORDS <<< "$line"
    [[ "$line" == *" " ]] && COMP_WORDS+=("")
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMP_LINE=$line; COMP_POINT=${#line}; COMPREPLY=()
    _shtab_alexnet 2> /dev/null
    echo "${COMPREPLY[*]}"
done
"""
FISH = r"""
source alexnet.fish
while read --line line
    echo (complete --do-complete $line | string split --fields 1 \t | string trim --right --chars /)
end
"""


def offered(shell: str, program: str, folder: Path) -> dict[str, set[str]]:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    (folder / "runs/mine").mkdir(parents=True)
    (folder / "images").mkdir()
    (folder / "images/dog.jpg").touch()
    (folder / f"alexnet.{shell}").write_text(script(COMMANDS, shell))  # pyright: ignore[reportArgumentType]
    typed = "".join(line + "\n" for line in CASES)
    options = ["--no-config"] if shell == "fish" else ["--norc"]
    done = subprocess.run(
        [shell, *options, "-c", program], cwd=folder, input=typed, capture_output=True, text=True, check=True
    )
    return {line: {*words.split()} for line, words in zip(CASES, done.stdout.splitlines(), strict=True)}


def test_bash_completes(tmp_path: Path) -> None:
    assert offered("bash", BASH, tmp_path) == CASES


def test_fish_completes(tmp_path: Path) -> None:
    assert offered("fish", FISH, tmp_path) == CASES


def test_zsh_understands_its_script(tmp_path: Path) -> None:
    if shutil.which("zsh") is None:
        pytest.skip("there is no zsh here")
    (tmp_path / "_alexnet").write_text(script(COMMANDS, "zsh"))
    done = subprocess.run(["zsh", "-n", str(tmp_path / "_alexnet")], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def described(shell: Shell) -> Callable[[str, str], bool]:
    """Whether a script knows an option of a command."""
    text = script(COMMANDS, shell)
    if shell == "bash":
        lists = dict(re.findall(r"^_shtab_alexnet_(\w+)_option_strings=\((.*)\)", text, re.M))
        return lambda command, option: option in lists[command].split()
    if shell == "fish":
        return lambda command, option: re.search(rf"_using {command}\b.* -l {re.escape(option[2:])} ", text) is not None
    blocks = dict(re.findall(r"^_shtab_alexnet_(\w+)_options=\((.*?)^\)", text, re.M | re.S))
    return lambda command, option: re.search(rf'["}}]{re.escape(option)}[\[="]', blocks[command]) is not None


@pytest.mark.parametrize("shell", get_args(Shell))
def test_every_option_of_every_command_is_completed(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    knows = described(shell)
    for command in COMMANDS:
        assert main([command, "--help"]) == 0
        shown = "-h, --help" + capsys.readouterr().out.partition("-h, --help")[2]  # without the description
        options = {*sum(re.findall(r"^[│ ] (?:-h, )?(--[a-z][\w.-]+)(?:, (--[a-z][\w.-]+))?", shown, re.M), ())} - {""}
        assert {"--json", "--debug"} <= options
        for option in options | ({"--recipe", "--network", "--from"} if command == "train" else set()):
            assert knows(command, option), f"{command} {option}"
        assert not knows(command, "--no-such-option")


def test_the_command_prints_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("#compdef alexnet") and shown == script(COMMANDS, "zsh").rstrip("\n") + "\n"
    assert main(["completion", "zsh", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["script"].startswith("#compdef alexnet")
    assert main(["completion", "csh"]) == 2
