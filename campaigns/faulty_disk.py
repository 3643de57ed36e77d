"""A folder seen through a disk that misbehaves on order: a FUSE file system in the kernel's own protocol.

    python campaigns/faulty_disk.py FOLDER MOUNT

serves the files of FOLDER (it must have no folders in it) read-only below MOUNT, until its standard input ends. Each
line on standard input is an order, answered by `ok` once it holds:

    slow SECONDS      delay every read so long
    hang SECONDS      answer no read for so long, once
    fail NUMBER       fail every read with this error number
    empty             return nothing from every read, as from a file that was cut off
    flip              change the middle byte of every read
    heal              none of these

Direct I/O: the kernel caches nothing, so that every read of a program arrives here. Protocol:
https://www.kernel.org/doc/html/latest/filesystems/fuse.html and include/uapi/linux/fuse.h. Needs Linux and root.
"""

import ctypes
import errno
import os
import select
import stat
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

LOOKUP, GETATTR, OPEN, READ, STATFS, INIT, OPENDIR, READDIR = 1, 3, 14, 15, 17, 26, 27, 28
UNANSWERED = (2, 36, 42)  # FORGET, INTERRUPT, BATCH_FORGET
NOTHING_TO_DO = (18, 25, 29)  # RELEASE, FLUSH, RELEASEDIR
REQUEST_HEADER, ANSWER_HEADER = "<IIQQIIIHH", "<IiQ"
READ_ONLY, DETACH, DIRECT_IO = 1, 2, 1
PATIENCE = 60  # seconds for an answer of the process that serves
LIBC = ctypes.CDLL(None, use_errno=True)


class FileSystem:
    """Answers the kernel's requests from an open /dev/fuse. Node 1 is the folder, node n + 2 its nth file."""

    def __init__(self, folder: Path, device: int) -> None:
        self.folder, self.device = folder, device
        self.names = sorted(path.name for path in folder.iterdir())
        self.delay, self.hangs_until, self.error, self.fault = 0.0, 0.0, 0, ""

    def obey(self, order: str) -> None:
        word, *numbers = order.split()
        value = float(numbers[0]) if numbers else 0.0
        if word == "hang":
            self.hangs_until = time.monotonic() + value
            return
        self.delay, self.error, self.fault = 0.0, 0, word
        if word == "slow":
            self.delay = value
        elif word == "fail":
            self.error = int(value)

    def serve(self) -> None:
        with ThreadPoolExecutor(16) as pool:
            while True:
                try:
                    request = os.read(self.device, 1 << 20)
                except OSError as error:
                    if error.errno == errno.ENODEV:  # unmounted
                        return
                    if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                        continue
                    raise
                pool.submit(self.answer, request)

    def answer(self, request: bytes) -> None:
        _, code, unique, node, *_ = struct.unpack_from(REQUEST_HEADER, request)
        if code in UNANSWERED:
            return
        try:
            body, number = self.reply(code, node, request[struct.calcsize(REQUEST_HEADER) :]), 0
        except Exception as error:  # without an answer the program would wait for ever
            body, number = b"", getattr(error, "errno", None) or errno.EIO
        try:
            os.write(self.device, struct.pack(ANSWER_HEADER, 16 + len(body), -number, unique) + body)
        except OSError as error:  # the program that asked has ended
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                raise

    def reply(self, code: int, node: int, body: bytes) -> bytes:
        if code == INIT:
            major, minor, ahead, _ = struct.unpack_from("<IIII", body)
            return struct.pack("<IIIIHHIIHHI28x", major, min(minor, 31), ahead, 0, 16, 12, 1 << 17, 1, 0, 0, 0)
        if code == LOOKUP:
            name = os.fsdecode(body.rstrip(b"\0"))
            if name not in self.names:
                raise FileNotFoundError(errno.ENOENT, name)
            number = self.names.index(name) + 2
            return struct.pack("<QQQQII", number, 0, 0, 0, 0, 0) + self.attributes(number)
        if code == GETATTR:
            return struct.pack("<QII", 0, 0, 0) + self.attributes(node)
        if code in (OPEN, OPENDIR):
            return struct.pack("<QII", 0, DIRECT_IO, 0)
        if code == READ:
            return self.read(self.names[node - 2], *struct.unpack_from("<QQI", body)[1:])
        if code == READDIR:
            return self.listing(*struct.unpack_from("<QQI", body)[1:])
        if code == STATFS:
            return struct.pack("<QQQQQIIII24x", 1, 0, 0, len(self.names), 0, 4096, 255, 4096, 0)
        if code in NOTHING_TO_DO:
            return b""
        raise OSError(errno.ENOSYS, "not implemented")

    def read(self, name: str, at: int, length: int) -> bytes:
        time.sleep(max(self.delay, self.hangs_until - time.monotonic(), 0))
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        with open(self.folder / name, "rb") as file:
            data = bytearray(os.pread(file.fileno(), length, at))
        if self.fault == "empty":
            return b""
        if self.fault == "flip" and data:
            data[len(data) // 2] ^= 0xFF
        return bytes(data)

    def attributes(self, node: int) -> bytes:
        there = os.stat(self.folder if node == 1 else self.folder / self.names[node - 2])
        mode = (stat.S_IFDIR | 0o555) if node == 1 else (stat.S_IFREG | 0o444)
        seconds, rest = divmod(there.st_mtime_ns, 10**9)
        times = (seconds,) * 3 + (rest,) * 3
        return struct.pack("<QQQQQQIIIIIIIIII", node, there.st_size, 0, *times, mode, 1, 0, 0, 0, 4096, 0)

    def listing(self, at: int, length: int) -> bytes:
        found = b""
        for number, name in enumerate(self.names[at:], at):
            encoded = os.fsencode(name)
            entry = struct.pack("<QQII", number + 2, number + 1, len(encoded), stat.S_IFREG >> 12) + encoded
            entry += bytes(-len(entry) % 8)
            if len(found) + len(entry) > length:
                break
            found += entry
        return found


def mount(device: int, mount_point: Path) -> None:
    """Raises OSError where this is not allowed."""
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0"
    if LIBC.mount(b"alexnet", os.fsencode(mount_point), b"fuse", READ_ONLY, options.encode()):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def unmount(mount_point: Path) -> None:
    """Unmount, even while programs use it; the files that they have open stay readable."""
    LIBC.umount2(os.fsencode(mount_point), DETACH)


class FaultyDisk:
    """The file system in a process of its own, so that a program that waits for it cannot keep it from answering."""

    def __init__(self, folder: Path, mount_point: Path) -> None:
        mount_point.mkdir(exist_ok=True)
        self.mount_point = mount_point
        command = [sys.executable, __file__, str(folder), str(mount_point)]
        # In a session of its own, which Ctrl-C does not reach: it unmounts once its standard input ends.
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self._await_ok()

    def order(self, line: str) -> None:
        """Make it misbehave from now on, or heal it; see the list above."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        self._await_ok()

    def _await_ok(self) -> None:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        if not ready or self.process.stdout.readline() != "ok\n":
            self.__exit__()
            raise RuntimeError(f"The disk at {self.mount_point} ended.")

    def kill(self) -> None:
        """As when the cable is pulled: reads of open files fail too."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        unmount(self.mount_point)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


def why_unavailable() -> str | None:
    """Why such a disk cannot be made on this machine; None where it can."""
    if sys.platform != "linux" or not os.path.exists("/dev/fuse"):
        return "there is no /dev/fuse here"
    try:
        device = os.open("/dev/fuse", os.O_RDWR)
    except OSError as error:
        return f"/dev/fuse cannot be opened: {error.strerror}"
    os.close(device)
    return None if os.geteuid() == 0 else "only root may mount"


def main() -> None:
    folder, mount_point = Path(sys.argv[1]), Path(sys.argv[2])
    device = os.open("/dev/fuse", os.O_RDWR)
    file_system = FileSystem(folder, device)
    mount(device, mount_point)
    threading.Thread(target=file_system.serve, daemon=True).start()
    print("ok", flush=True)
    for line in sys.stdin:
        file_system.obey(line)
        print("ok", flush=True)
    unmount(mount_point)
    os._exit(0)


if __name__ == "__main__":
    main()
