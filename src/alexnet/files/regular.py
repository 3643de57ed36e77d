"""Opens and reads untrusted files: regular ones only, and no more bytes than expected.

A named pipe would block its reader for ever, a device (`/dev/zero`) has no end, and a file of 300 GB takes all memory.
"""

import errno
import os
import stat
from io import FileIO
from pathlib import Path

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def open_regular(path: Path | str) -> FileIO:
    """Open a regular file for reading, unbuffered.

    Raises OSError as the system does, and, with the reason as its `strerror`, for a folder, pipe, device or socket.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe without a writer opens at once
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return open(handle, "rb", buffering=0)
    os.close(handle)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, f"it is {_KINDS.get(stat.S_IFMT(mode), 'something else')}, not a file", str(path))


def read_regular(path: Path | str, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes.

    Raises OSError as `open_regular` does, and with the reason as its `strerror` for a longer file.
    """
    with open_regular(path) as file:
        length = os.fstat(file.fileno()).st_size
        check_length(path, length, limit)
        data = file.read(length + 1)  # Python allocates all that is asked for, and one byte tells whether it has grown
        while len(data) < length and (more := file.read(length - len(data))):
            data += more  # the system reads at most 2 GiB at once
        check_length(path, len(data), limit)
    return data


def reason(error: Exception) -> str:
    """Why a file cannot be read, in words: without the number and the file name that an OSError puts around them."""
    return getattr(error, "strerror", None) or str(error)


def check_length(path: Path | str, length: int, limit: int) -> None:
    """OSError, with the reason as its `strerror`, where a file has more than `limit` bytes."""
    if length > limit:
        raise OSError(errno.EFBIG, f"it has {length:,} bytes, and at most {limit:,} are read", str(path))
