"""A folder seen through a disk that can be told to misbehave: a FUSE file system in the kernel's own protocol.

    python -m campaigns.faulty_disk FOLDER MOUNT

serves the files of FOLDER (no folders in it) read-only below MOUNT, until its standard input ends. Lines on standard
input tell it how to behave from then on, and each is answered by `ok` once it does:

    slow SECONDS      every read waits so long
    hang SECONDS      no read is answered for so long, once
    fail NUMBER       reads fail with this error number
    short             reads give nothing, as if the files had been cut off
    flip              the middle byte of every read is changed
    well              none of these

The kernel is told to keep nothing (direct I/O), so that every read of a program arrives here. Protocol:
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
FORGET, INTERRUPT, BATCH_FORGET = 2, 36, 42  # not to be answered
EMPTY = (18, 25, 29)  # RELEASE, FLUSH, RELEASEDIR: nothing to do
IN, OUT = "<IIQQIIIHH", "<IiQ"
READ_ONLY, DETACH, DIRECT_IO = 1, 2, 1
PATIENCE = 60  # seconds for an answer of the process that serves
LIBC = ctypes.CDLL(None, use_errno=True)


class Disk:
    """The file system: answers the kernel from a device that was opened."""

    def __init__(self, folder: Path, device: int) -> None:
        self.folder, self.device = folder, device
        self.names = sorted(path.name for path in folder.iterdir())
        self.slow, self.until, self.error, self.fault = 0.0, 0.0, 0, ""

    def obey(self, line: str) -> None:
        word, *numbers = line.split()
        value = float(numbers[0]) if numbers else 0.0
        if word == "hang":
            self.until = time.monotonic() + value
            return
        self.slow, self.error, self.fault = 0.0, 0, word
        if word == "slow":
            self.slow = value
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
        _, code, unique, node, *_ = struct.unpack_from(IN, request)
        if code in (FORGET, INTERRUPT, BATCH_FORGET):
            return
        try:
            body, trouble = self.reply(code, node, request[struct.calcsize(IN) :]), 0
        except Exception as error:  # an unanswered request would keep its program waiting for ever
            body, trouble = b"", getattr(error, "errno", None) or errno.EIO
        try:
            os.write(self.device, struct.pack(OUT, 16 + len(body), -trouble, unique) + body)
        except OSError as error:  # who asked has gone
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
        if code in EMPTY:
            return b""
        raise OSError(errno.ENOSYS, "not part of this")

    def read(self, name: str, at: int, length: int) -> bytes:
        time.sleep(max(self.slow, self.until - time.monotonic(), 0))
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        with open(self.folder / name, "rb") as file:
            data = bytearray(os.pread(file.fileno(), length, at))
        if self.fault == "short":
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


def mount(device: int, place: Path) -> None:
    """Raises OSError where this is not allowed."""
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0"
    if LIBC.mount(b"alexnet", os.fsencode(place), b"fuse", READ_ONLY, options.encode()):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def unmount(place: Path) -> None:
    """Take the file system away, also from under those who use it; what they have open, they keep."""
    LIBC.umount2(os.fsencode(place), DETACH)


class Mounted:
    """The disk in a process of its own, so that whoever waits for it cannot keep it from answering."""

    def __init__(self, folder: Path, place: Path) -> None:
        place.mkdir(exist_ok=True)
        self.place = place
        command = [sys.executable, __file__, str(folder), str(place)]
        # In a session of its own: Ctrl-C is not for it, it must live to unmount once its standard input ends.
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.awaited()

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        self.awaited()

    def awaited(self) -> None:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        if not ready or self.process.stdout.readline() != "ok\n":
            self.__exit__()
            raise RuntimeError(f"the disk at {self.place} ended")

    def vanish(self) -> None:
        """As when the cable is pulled: open files too give nothing but errors."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.vanish()
        unmount(self.place)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


def why_not() -> str | None:
    """Why there can be no such disk here; None where there can."""
    if sys.platform != "linux" or not os.path.exists("/dev/fuse"):
        return "there is no /dev/fuse here"
    try:
        device = os.open("/dev/fuse", os.O_RDWR)
    except OSError as error:
        return f"/dev/fuse cannot be opened: {error.strerror}"
    os.close(device)
    return None if os.geteuid() == 0 else "only root may mount"


def main() -> None:
    folder, place = Path(sys.argv[1]), Path(sys.argv[2])
    device = os.open("/dev/fuse", os.O_RDWR)
    disk = Disk(folder, device)
    mount(device, place)
    threading.Thread(target=disk.serve, daemon=True).start()
    print("ok", flush=True)
    for line in sys.stdin:
        disk.obey(line)
        print("ok", flush=True)
    unmount(place)
    os._exit(0)


if __name__ == "__main__":
    main()
