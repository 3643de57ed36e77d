"""What the tests of this room share: an empty cache, a small source, and a compiler that counts its calls."""

import os
import shlex
from pathlib import Path

import pytest

from alexnet.native import compiler

SOURCE = """
#include "answer.h"
#include "exports.h"
int answer() { return ANSWER; }
void add(const float *x, int64_t count, float factor, bool negative, float *sum) {
    for (int64_t i = 0; i < count; i++) *sum += (negative ? -factor : factor) * x[i];
}
const char *name() { return "Deep Thought"; }
extern "C" const Export *alexnet_exports() {
    static const Export all[] = {exported<answer>("answer"), exported<add>("add"), exported<name>("name"), {}};
    return all;
}
"""


@pytest.fixture(autouse=True)
def can_build() -> None:
    if os.name != "posix":
        pytest.skip("libraries are built on Linux and macOS only")
    if compiler.command() is None:
        pytest.skip("no C++ compiler")


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for everything, with an empty cache in it."""
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def source(fresh: Path) -> Path:
    """A source that includes a header beside it."""
    folder = fresh / "native"
    folder.mkdir()
    (folder / "answer.h").write_text("#define ANSWER 42\n")
    (folder / "answer.cpp").write_text(SOURCE)
    return folder / "answer.cpp"


@pytest.fixture
def calls(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that has a line for each time that the compiler has been called."""
    command, calls, script = compiler.command(), fresh / "calls", fresh / "compiler"
    assert command is not None
    calls.touch()
    script.write_text(f'#!/bin/sh\necho called >> "{calls}"\nexec {shlex.join(command)} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    return calls
