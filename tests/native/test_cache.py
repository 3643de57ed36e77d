"""Where libraries are kept, and under which names."""

import os
from pathlib import Path

import pytest

from alexnet.native import cache, compiler

FLAGS = (("-shared", "-fPIC", "-O1"),)


def group_of_others() -> int:
    """A group of this process that is not the user's alone."""
    if os.getuid() == 0:
        return 12345
    return next((g for g in os.getgroups() if not cache._is_own_group(g)), None) or pytest.skip("no such group")


@pytest.mark.parametrize("why", ["open parent", "group", "another owner", "link", "a file is there", "relative"])
def test_nothing_is_loaded_from_a_folder_that_others_can_change(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    parent = fresh / "cache"
    parent.mkdir()
    if why == "open parent":
        parent.chmod(0o777)
    elif why == "group":
        parent.chmod(0o775)
        os.chown(parent, -1, group_of_others())
    elif why == "another owner":
        if os.getuid() != 0:
            pytest.skip("only root can give a folder away")
        os.chown(parent, 12345, -1)
    elif why == "link":
        (fresh / "elsewhere").mkdir()
        (parent / "alexnet").symlink_to(fresh / "elsewhere")
    elif why == "a file is there":
        (parent / "alexnet").touch()
    elif why == "relative":
        monkeypatch.setenv("XDG_CACHE_HOME", "cache")
        monkeypatch.chdir(fresh)
    folder = cache.folder()
    assert not folder.is_relative_to(fresh)
    assert folder.stat().st_uid == os.getuid()
    assert folder.stat().st_mode & 0o077 == 0


def test_another_source_header_compiler_flag_or_environment_is_another_file(
    source: Path, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = compiler.command()
    assert command is not None
    names = {cache.library_name(command, source, FLAGS)}
    assert cache.library_name(command, source, FLAGS) in names
    names.add(cache.library_name([*command, "-g"], source, FLAGS))
    names.add(cache.library_name(command, source, (("-shared",),)))
    (source.parent / "answer.h").write_text("#define ANSWER 43\n")
    names.add(cache.library_name(command, source, FLAGS))
    Path(command[0]).write_text("#!/bin/sh\n")
    names.add(cache.library_name(command, source, FLAGS))
    monkeypatch.setenv("CPLUS_INCLUDE_PATH", "/elsewhere")
    names.add(cache.library_name(command, source, FLAGS))
    assert len(names) == 6


def test_a_change_of_a_shared_header_is_another_file(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = compiler.command()
    assert command is not None
    shared = source.parent.parent / "shared"
    shared.mkdir()
    monkeypatch.setattr(cache, "INCLUDE", shared)
    names = {cache.library_name(command, source, FLAGS)}
    (shared / "vector.h").write_text("#define LANES 16\n")
    names.add(cache.library_name(command, source, FLAGS))
    assert len(names) == 2
