"""Only regular files are read, and no more of them than expected."""

import os
import socket
from pathlib import Path

import pytest

from alexnet.files.arrays import read_array
from alexnet.files.checksums import checksum
from alexnet.files.read_at import ReadAt
from alexnet.files.regular import open_regular, read_regular


def test_the_content_of_a_file_of_the_longest_length_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_regular(tmp_path / "file", 5) == b"12345"
    with open_regular(tmp_path / "file") as file:
        assert file.read() == b"12345"


def test_a_longer_file_is_refused_and_takes_no_memory(tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb") as file:
        file.truncate(300 << 30)  # of which the disk holds nothing
    with pytest.raises(OSError, match="it has 322,122,547,200 bytes, and at most 1,000 are read") as caught:
        read_regular(tmp_path / "file", 1000)
    assert caught.value.filename == str(tmp_path / "file")


@pytest.mark.parametrize("read", [lambda path: read_regular(path, 100), checksum, read_array, ReadAt])
def test_pipes_devices_sockets_and_folders_are_refused_at_once(tmp_path: Path, read) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as opened:
        os.chdir(tmp_path)
        opened.bind("socket")
    for path, reason in (
        (tmp_path / "pipe", "it is a named pipe, not a file"),
        (Path("/dev/zero"), "it is a device, not a file"),
        (tmp_path / "folder", "Is a directory"),
        (tmp_path / "socket", "No such device|it is a socket"),
        (tmp_path / "nothing", "No such file"),
    ):
        with pytest.raises(OSError, match=reason) as caught:
            read(path)
        assert caught.value.filename == str(path)
