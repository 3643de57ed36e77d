"""Files are written whole or not at all."""

import errno
import json
import os

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
