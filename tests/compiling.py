"""What the tests of the C++ sources share."""

import subprocess
from pathlib import Path

import pytest

from alexnet.native import compiler


def check_source(source: Path, folder: Path, *flags: str) -> None:
    """`source` is right for a compiler that is given `flags`; skipped where it does not know them."""
    command = compiler.command()
    assert command is not None
    form, nothing = [*command, "-std=c++17", f"-I{compiler.INCLUDE}", *flags, "-fsyntax-only"], folder / "nothing.cpp"
    nothing.write_text("int nothing;")
    if subprocess.run([*form, str(nothing)], capture_output=True).returncode:
        pytest.skip("the compiler does not know these flags")
    done = subprocess.run([*form, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
