"""Fetches a file of known length over HTTP, and resumes what an interruption left.

The libraries that know checksums of data sets (pooch, torchvision) start again from the first byte. Here the bytes that
are on the disk stay, and the server is asked for the rest (RFC 9110, section 14: range requests).
"""

import http.client
import re
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib import request
from urllib.error import HTTPError, URLError

BLOCK = 1 << 18
"""Bytes received at once."""
SILENCE = 30.0
"""Seconds without a byte after which a connection counts as cut."""
PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each new try after a cut connection. A try that receives something begins again with the first."""
BUSY = (408, 429, 500, 502, 503, 504)
"""HTTP's codes of servers that may answer later."""


class Cut(Exception):
    """A connection that ended, or never came about; its text is the reason."""


def fetch(
    address: str, file: Path, length: int, advance: Callable[[int], None], pauses: tuple[float, ...] = PAUSES
) -> None:
    """Receive `address` into `file` until it has `length` bytes, after those that it has already.

    `advance` is called with the number of bytes received. Raises ValueError where the first connection fails, where
    those after it fail `len(pauses)` times in a row, and where the server has no such file or one of another length.
    """
    waits: list[float] = []
    while (have := file.stat().st_size if file.exists() else 0) < length:
        try:
            for block in _blocks(address, file, have, length, advance):
                waits = [*pauses]
                with open(file, "ab") as out:
                    out.write(block)
                advance(len(block))
        except Cut as cut:
            if not waits:
                raise ValueError(f"{address} cannot be read ({cut}): the same command resumes it") from None
            time.sleep(waits.pop(0))


def _blocks(address: str, file: Path, have: int, length: int, advance: Callable[[int], None]) -> Iterator[bytes]:
    """What the server sends from byte `have` on, at most up to `length`. Raises Cut where it ends before."""
    with _open(address, have) as response:
        if not _resumes(response, address, have, length):
            file.unlink(missing_ok=True)
            advance(-have)
            have = 0
        while have < length:
            try:
                block = response.read1(min(BLOCK, length - have))
            except (OSError, http.client.HTTPException) as error:
                raise Cut(_reason(error)) from None
            if not block:
                raise Cut("the connection was cut")
            have += len(block)
            yield block


def _resumes(response: http.client.HTTPResponse, address: str, have: int, length: int) -> bool:
    """Whether the answer begins at byte `have`, and not at the first. ValueError where the file is another one."""
    if response.status == 206:
        given = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if not given or int(given[1]) != have:
            raise ValueError(f"{address} is not what it should be: its server sends other bytes than it was asked for")
        total = given[2]
    else:
        total = response.headers.get("Content-Length") or "*"
    if total not in ("*", str(length)):
        raise ValueError(f"{address} has changed: it has {total} bytes, not {length}")
    return response.status == 206


def _open(address: str, start: int) -> http.client.HTTPResponse:
    """The answer to a request for `address` from byte `start` on. Follows redirections, to HTTP and HTTPS alone."""
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler,
        request.HTTPHandler,
        request.HTTPSHandler,
        request.HTTPRedirectHandler,
        request.HTTPDefaultErrorHandler,
        request.HTTPErrorProcessor,
        request.UnknownHandler,
    ):
        opener.add_handler(handler())
    opener.addheaders = [("User-Agent", "alexnet"), *([("Range", f"bytes={start}-")] if start else [])]
    try:
        return opener.open(address, timeout=SILENCE)
    except HTTPError as error:
        said = f"{error.code} {' '.join(str(error.reason).split())}".strip()
        error.close()
        if error.code in BUSY:
            raise Cut(f"its server answers {said}") from None
        raise ValueError(f"{address} is not there: its server answers {said}") from None
    except (OSError, http.client.HTTPException) as error:
        raise Cut(_reason(error)) from None


def _reason(error: Exception) -> str:
    """Why there is no connection, in a few words."""
    inner = error.reason if isinstance(error, URLError) else error
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"its certificate cannot be checked, {inner.verify_message}"
    return (isinstance(inner, OSError) and inner.strerror) or str(inner) or type(inner).__name__
