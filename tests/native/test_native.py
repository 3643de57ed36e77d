"""Building, keeping and opening libraries written in C++."""

import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alexnet import native

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="libraries are built on Linux and macOS only"),
    pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler"),
]
FLAGS = (("-shared", "-fPIC", "-O1"),)


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for everything, with an empty cache in it."""
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def source(fresh: Path) -> Path:
    folder = fresh / "native"
    folder.mkdir()
    (folder / "answer.h").write_text("#define ANSWER 42\n")
    (folder / "answer.cpp").write_text('#include "answer.h"\nextern "C" int answer() { return ANSWER; }\n')
    return folder / "answer.cpp"


@pytest.fixture
def calls(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that has a line for each time that the compiler has been called."""
    command, calls, script = native.compiler(), fresh / "calls", fresh / "compiler"
    assert command is not None
    calls.touch()
    script.write_text(f'#!/bin/sh\necho called >> "{calls}"\nexec {shlex.join(command)} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    return calls


def times(calls: Path) -> int:
    return len(calls.read_text().splitlines())


def test_a_library_is_built_once_and_kept_where_only_the_user_writes(source: Path, calls: Path, fresh: Path) -> None:
    assert native.load(source, FLAGS).answer() == 42
    assert native.load(source, FLAGS).answer() == 42
    folder = fresh / "cache" / "alexnet"
    (built,) = folder.iterdir()  # and nothing half-made beside it
    assert times(calls) == 1
    assert folder.stat().st_mode & 0o777 == 0o700
    assert built.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_was_open_is_closed_and_its_files_are_not_trusted(source: Path, calls: Path, fresh: Path) -> None:
    native.load(source, FLAGS)
    folder = fresh / "cache" / "alexnet"
    (built,) = folder.iterdir()
    folder.chmod(0o777)
    built.chmod(0o777)
    native.load(source, FLAGS)
    assert times(calls) == 2
    assert folder.stat().st_mode & 0o777 == 0o700
    assert built.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("why", ["open parent", "link", "a file is there", "relative"])
def test_nothing_is_loaded_from_a_place_that_others_can_change(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    cache = fresh / "cache"
    cache.mkdir()
    if why == "open parent":
        cache.chmod(0o777)
    elif why == "link":
        (fresh / "elsewhere").mkdir()
        (cache / "alexnet").symlink_to(fresh / "elsewhere")
    elif why == "a file is there":
        (cache / "alexnet").touch()
    elif why == "relative":
        monkeypatch.setenv("XDG_CACHE_HOME", "cache")
        monkeypatch.chdir(fresh)
    folder = native.cache_folder()
    assert not folder.is_relative_to(fresh)
    assert folder.stat().st_uid == os.getuid()
    assert folder.stat().st_mode & 0o077 == 0


def test_all_that_build_at_once_get_a_whole_library(source: Path, calls: Path, fresh: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(lambda _: native.load(source, FLAGS), range(4)))
    assert [each.answer() for each in loaded] == [42] * 4
    code = "import sys; from pathlib import Path; from alexnet import native\n"
    code += f"sys.exit(native.load(Path(sys.argv[1]), {FLAGS}).answer())"
    (fresh / "cache" / "alexnet").rename(fresh / "away")
    processes = [subprocess.Popen([sys.executable, "-c", code, str(source)]) for _ in range(3)]
    assert [each.wait(60) for each in processes] == [42] * 3
    assert len(list((fresh / "cache" / "alexnet").iterdir())) == 1
    assert times(calls) >= 2


def test_another_source_header_compiler_or_flag_is_another_file(source: Path, calls: Path) -> None:
    command = native.compiler()
    assert command is not None
    names = {native.library_name(command, source, FLAGS)}
    assert native.library_name(command, source, FLAGS) in names
    names.add(native.library_name([*command, "-g"], source, FLAGS))
    names.add(native.library_name(command, source, (("-shared",),)))
    (source.parent / "answer.h").write_text("#define ANSWER 43\n")
    names.add(native.library_name(command, source, FLAGS))
    Path(command[0]).write_text("#!/bin/sh\n")
    names.add(native.library_name(command, source, FLAGS))
    assert len(names) == 5


def test_flags_that_the_compiler_does_not_know_are_passed_over(source: Path) -> None:
    assert native.load(source, (("--no-such-flag", *FLAGS[0]), *FLAGS)).answer() == 42


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
    with pytest.raises(native.UnavailableError, match=reason):
        native.load(source, FLAGS)


@pytest.mark.parametrize(("value", "off"), [("off", True), ("OFF", True), ("0", True), ("", False), ("on", False)])
def test_off_is_said_by_the_environment(value: str, off: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALEXNET_KERNELS", value)
    assert native.is_off() is off
