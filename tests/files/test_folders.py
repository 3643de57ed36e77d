"""A folder that cannot be made or written is refused, with the name that is in the way."""

import os
import re
from pathlib import Path

import pytest

from alexnet.files.folders import check_folder


def test_what_is_there_and_what_can_be_made_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, tmp_path / "deep" / "new", Path("new"), Path(".")):
        check_folder(folder)
    assert not any(tmp_path.iterdir())


def test_a_file_in_the_way_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("file", "dangling"):
        for folder in (tmp_path / name, tmp_path / name / "deep" / "new"):
            with pytest.raises(ValueError, match=f"^{re.escape(str(tmp_path / name))} is a file, not a folder"):
                check_folder(folder)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    if os.geteuid() == 0:  # root may write everywhere but where nothing can be written
        closed = Path("/proc/sys")
        if not closed.is_dir() or os.access(closed, os.W_OK):
            pytest.skip("root may write to every folder here")
    for folder in (closed, closed / "new"):
        with pytest.raises(ValueError, match=f"^{closed} cannot be written to; give another name"):
            check_folder(folder)
