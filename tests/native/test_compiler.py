"""Flags that a compiler does not know, and compilers that fail."""

import os
import time
from pathlib import Path

import pytest

from alexnet.native import compiler, library
from alexnet.native.compiler import UnavailableError

FLAGS = (("-shared", "-fPIC", "-O1"),)


def test_flags_that_the_compiler_does_not_know_are_passed_over(source: Path) -> None:
    assert library.load(source, (("--no-such-flag", *FLAGS[0]), *FLAGS)).answer() == 42


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (None, "no C.. compiler"),
        ("echo 'error: no' >&2; exit 1", r"failed \(error: no\)"),
        ("exit 1", "failed .no message"),
        ("", "file too short"),
    ],
)
def test_what_does_not_build_has_a_reason(
    source: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, reason: str
) -> None:
    if script is not None:
        (fresh / "compiler").write_text(f"#!/bin/sh\n{script}\n")
        (fresh / "compiler").chmod(0o755)
    monkeypatch.setenv("CXX", str(fresh / "compiler"))
    with pytest.raises(UnavailableError, match=reason):
        library.load(source, FLAGS)


def test_options_of_the_command_prevail(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source.write_text(source.read_text().replace('#include "answer.h"\n', ""))
    command = compiler.command()
    assert command is not None
    monkeypatch.setenv("CXX", f"{command[0]} -DANSWER=43")
    assert library.load(source, ((*FLAGS[0], "-DANSWER=42", "-UANSWER"),)).answer() == 43


def test_a_command_that_cannot_be_read_is_a_sentence(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", 'g++ "-O2')
    with pytest.raises(UnavailableError, match="the variable CXX cannot be read as a command"):
        library.load(source, FLAGS)


def test_a_compiler_that_is_given_up_leaves_no_process(
    source: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, number = fresh / "compiler", fresh / "number"
    script.write_text(f'#!/bin/sh\nsleep 600 &\necho $! > "{number}.new"\nmv "{number}.new" "{number}"\nwait\n')
    script.chmod(0o755)
    monkeypatch.setattr(compiler, "TIMEOUT", 2)
    while not number.exists():  # where the machine has much else to do
        with pytest.raises(UnavailableError, match="timed out"):
            compiler.build([str(script)], source, FLAGS, fresh)
    end = time.monotonic() + 120
    while is_alive(int(number.read_text())):
        assert time.monotonic() < end
        time.sleep(0.05)


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
