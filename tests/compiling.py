"""What the tests of the C++ sources share."""

import functools
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from alexnet.native import compiler


def open_again(module: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the function `name` open the library anew in this test. The others keep theirs: without a compiler, a second
    warning that there is none would be their error."""
    monkeypatch.setattr(module, name, functools.cache(getattr(module, name).__wrapped__))


def check_source(source: Path, folder: Path, *flags: str) -> None:
    """`source` is right for a compiler that is given `flags`; skipped where it does not know them."""
    command = compiler.command()
    if command is None:
        pytest.skip("no compiler here")
    form, nothing = [*command, "-std=c++17", f"-I{compiler.INCLUDE}", *flags, "-fsyntax-only"], folder / "nothing.cpp"
    nothing.write_text("int nothing;")
    if subprocess.run([*form, str(nothing)], capture_output=True).returncode:
        pytest.skip("the compiler does not know these flags")
    done = subprocess.run([*form, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
