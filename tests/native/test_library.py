"""Building libraries once and opening them."""

import ctypes
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alexnet.native import library

FLAGS = (("-shared", "-fPIC", "-O1"),)


def times(calls: Path) -> int:
    return len(calls.read_text().splitlines())


def test_a_library_is_built_once_and_kept_where_only_the_user_writes(source: Path, calls: Path, fresh: Path) -> None:
    assert library.load(source, FLAGS).answer() == 42
    assert library.load(source, FLAGS).answer() == 42
    folder = fresh / "cache" / "alexnet"
    (built,) = folder.iterdir()  # and nothing half-made beside it
    assert times(calls) == 1
    assert folder.stat().st_mode & 0o777 == 0o700
    assert built.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_was_open_is_closed_and_its_files_are_not_trusted(source: Path, calls: Path, fresh: Path) -> None:
    library.load(source, FLAGS)
    folder = fresh / "cache" / "alexnet"
    (built,) = folder.iterdir()
    folder.chmod(0o777)
    built.chmod(0o777)
    library.load(source, FLAGS)
    assert times(calls) == 2
    assert folder.stat().st_mode & 0o777 == 0o700
    assert built.stat().st_mode & 0o777 == 0o700


def test_all_that_build_at_once_get_a_whole_library(source: Path, calls: Path, fresh: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(lambda _: library.load(source, FLAGS), range(4)))
    assert [each.answer() for each in loaded] == [42] * 4
    code = "import sys; from pathlib import Path; from alexnet.native import library\n"
    code += f"sys.exit(library.load(Path(sys.argv[1]), {FLAGS}).answer())"
    (fresh / "cache" / "alexnet").rename(fresh / "away")
    processes = [subprocess.Popen([sys.executable, "-c", code, str(source)]) for _ in range(3)]
    assert [each.wait(300) for each in processes] == [42] * 3
    assert len(list((fresh / "cache" / "alexnet").iterdir())) == 1
    assert times(calls) >= 2


@pytest.mark.parametrize(("value", "off"), [("off", True), ("OFF", True), ("0", True), ("", False), ("on", False)])
def test_off_is_said_by_the_environment(value: str, off: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALEXNET_KERNELS", value)
    assert library.is_off() is off


def test_functions_have_the_types_that_the_source_gives_them(source: Path) -> None:
    opened = library.load(source, FLAGS)
    x, total = (ctypes.c_float * 3)(1.0, 2.0, 4.0), ctypes.c_float(0.5)
    opened.add(x, 3, 2, True, ctypes.addressof(total))
    assert total.value == 0.5 - 2 * 7
    assert opened.name() == b"Deep Thought"
    assert "add" in opened and "subtract" not in opened
    assert opened.address("add") != opened.address("answer")
    with pytest.raises(AttributeError, match="exports no subtract"):
        _ = opened.subtract
    with pytest.raises(ctypes.ArgumentError):
        opened.add(x, 3.5, 2, True, None)


def test_a_library_without_a_list_of_its_functions_is_refused(source: Path) -> None:
    source.write_text('extern "C" int answer() { return 42; }\n')
    with pytest.raises(library.UnavailableError, match="alexnet_exports"):
        library.load(source, FLAGS)


@pytest.mark.parametrize("damage", ["truncated", "empty", "changed", "a directory", "a pipe"])
def test_a_damaged_library_is_built_again(source: Path, calls: Path, fresh: Path, damage: str) -> None:
    library.load(source, FLAGS)
    (built,) = (fresh / "cache" / "alexnet").iterdir()
    content = built.read_bytes()
    built.unlink()
    if damage == "a directory":
        (built / "inside").mkdir(parents=True)
    elif damage == "a pipe":
        os.mkfifo(built)
    else:
        half = len(content) // 2
        damaged = {"truncated": content[:half], "empty": b"", "changed": content[:half] + b"!" + content[half + 1 :]}
        built.write_bytes(damaged[damage])
        built.chmod(0o700)
    code = "import sys; from pathlib import Path; from alexnet.native import library\n"
    code += f"sys.exit(library.load(Path(sys.argv[1]), {FLAGS}).answer())"
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", code, str(source)]).returncode == 42
    assert times(calls) == 2
