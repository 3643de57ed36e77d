"""Receives an image that is sent: bounded in bytes and in time, alone and with all others."""

from collections.abc import AsyncGenerator

import anyio
from starlette.requests import ClientDisconnect, Request

from alexnet.explore import bounds
from alexnet.explore.guard import Refused


async def discard(stream: AsyncGenerator[bytes, None]) -> None:
    """Read on for a moment: most senders look for an answer only when all is sent."""
    left = bounds.DISCARDED
    with anyio.move_on_after(bounds.SECONDS_BETWEEN_PARTS):
        while left > 0 and (part := await anext(stream, None)) is not None:
            left -= len(part)


class Receiver:
    """Counts the bytes of all bodies that are being received."""

    def __init__(self) -> None:
        self.bytes = 0

    async def body(self, request: Request) -> bytes:
        """The body. Refused (408, 411, 413, 503) where it is too long, too slow, or there are too many."""
        too_large = Refused(413, f"An image may have {bounds.LARGEST_UPLOAD // 10**6} MB; this one has more.")
        claimed = request.headers.get("content-length", "")
        stream = request.stream()
        if claimed.isdigit() and int(claimed) > bounds.LARGEST_UPLOAD:
            await discard(stream)
            raise too_large
        parts: list[bytes] = []
        length = 0
        too_slow = Refused(408, "The image did not arrive in time; send it again.")
        try:
            with anyio.fail_after(bounds.SECONDS_FOR_UPLOAD):
                while True:
                    with anyio.fail_after(bounds.SECONDS_BETWEEN_PARTS):
                        part = await anext(stream, None)
                    if part is None:
                        break
                    length += len(part)
                    self.bytes += len(part)
                    parts.append(part)
                    if length > bounds.LARGEST_UPLOAD:
                        await discard(stream)
                        raise too_large
                    if self.bytes > bounds.BYTES_IN_FLIGHT:
                        raise Refused(503, "Too many images arrive at once; try again in a few seconds.")
            return b"".join(parts)
        except TimeoutError:
            raise too_slow from None
        except ClientDisconnect:
            raise Refused(400, "The connection was closed before the image was whole.") from None
        finally:
            self.bytes -= length
