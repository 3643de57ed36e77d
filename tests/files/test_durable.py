"""Files are written whole or not at all."""

import errno
import json
import multiprocessing
import os
import subprocess
import sys

import pytest

from alexnet.files import durable


def test_a_file_is_replaced_only_by_a_whole_one(tmp_path):
    file = tmp_path / "file.txt"
    file.write_text("old")

    def fail():
        with durable.whole(file) as temporary:
            temporary.write_text("half of the ne")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]
    with durable.whole(file) as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".txt"
        temporary.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new" and list(tmp_path.iterdir()) == [file]


def test_json_is_written_whole(tmp_path):
    durable.write_json(tmp_path / "file.json", {"name": "führen"})
    assert json.loads((tmp_path / "file.json").read_text(encoding="utf-8")) == {"name": "führen"}
    with pytest.raises(TypeError):
        durable.write_json(tmp_path / "file.json", {"name": object()})
    assert "führen" in (tmp_path / "file.json").read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [tmp_path / "file.json"]


def test_content_is_synced_before_the_file_is_renamed_and_its_folder_after(tmp_path, monkeypatch):
    order, fsync = [], os.fsync

    def watch(handle):
        order.append("folder" if os.path.isdir(f"/dev/fd/{handle}") else "file")
        fsync(handle)

    monkeypatch.setattr(durable.os, "fsync", watch)
    real = type(tmp_path).replace
    monkeypatch.setattr(type(tmp_path), "replace", lambda self, to: (order.append("name"), real(self, to))[1])
    with durable.whole(tmp_path / "file") as temporary:
        temporary.write_text("new")
    assert order == ["file", "name", "folder"]


def test_a_full_disk_is_recognised():
    assert durable.is_full(OSError(errno.ENOSPC, "full")) and durable.is_full(OSError(errno.EDQUOT, "quota"))
    assert durable.is_full(ValueError(f"I/O error: full (os error {errno.ENOSPC})"))
    assert not durable.is_full(OSError(errno.EIO, "broken")) and not durable.is_full(ValueError("os error 5"))


def write_at_once(path, number, start):
    start.wait()
    for _ in range(20):
        with durable.whole(path) as temporary:
            temporary.write_text(f"{number}\n" * 1000)


def test_writers_at_once_never_share_a_name(tmp_path):
    """Each puts its own content there, whole; none fails."""
    context = multiprocessing.get_context("spawn" if sys.platform == "darwin" else "fork")
    start = context.Barrier(4)
    writers = [context.Process(target=write_at_once, args=(tmp_path / "file", i, start)) for i in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    lines = (tmp_path / "file").read_text().split()
    assert len(lines) == 1000 and len(set(lines)) == 1
    assert os.listdir(tmp_path) == ["file"]


def test_what_dead_writers_left_is_deleted_and_what_others_write_is_not(tmp_path):
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    mine, number = durable.mark(), int(dead.stdout)
    names = {
        "dead": mine.replace(f"-{os.getpid()}-", f"-{number}-"),
        "alive": mine,
        "elsewhere": f"{'0' * 8}-{number}-{'0' * 8}",
    }
    left = {which: durable.new_name(tmp_path / "file", mark) for which, mark in names.items()}
    other = durable.new_name(tmp_path / "other", names["dead"])
    for each in (*left.values(), other):
        each.write_text("half")
    with durable.whole(tmp_path / "file") as temporary:
        temporary.write_text("new")
    assert {which for which, each in left.items() if each.exists()} == {"alive", "elsewhere"}
    assert other.exists()
