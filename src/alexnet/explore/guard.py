"""What stands before the routes: who may ask, and what a browser may do with the answers.

- `Host` must be a name of this machine, so that no other site can make its own name lead here (DNS rebinding).
- `Origin`, where a browser sends it, must be this site's, and no other site's page may fetch or embed what is here.
- The content security policy allows scripts, styles and images of this site alone, and no other host.
- An error is a sentence, without the paths of this machine.
"""

import ipaddress
import re
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from alexnet.explore.bounds import LONGEST_QUERY
from alexnet.explore.worker import BusyError
from alexnet.files.printable import printable

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class MissingError(ValueError):
    """There is no such thing; the text says what there is."""


class Refused(Exception):
    """A request that is not answered: its status and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Names:
    """The names under which this server may be asked: `host`, where it listens, and those of this machine."""

    def __init__(self, host: str, own: Iterable[str] = ()) -> None:
        self.open = host not in LOOPBACK
        self.names = {*LOOPBACK, host.lower(), *(name.lower() for name in own if self.open)}

    def __contains__(self, header: str) -> bool:
        """Whether a `Host` header names this server. Where others may ask, any address in numbers does: a name of
        somebody else's cannot be one."""
        name = re.sub(r":\d+$", "", header).strip("[]").lower()
        if name in self.names:
            return True
        try:
            return self.open and bool(ipaddress.ip_address(name))
        except ValueError:
            return False


class Guard:
    """Checks each request, and turns whatever goes wrong behind it into an answer."""

    def __init__(self, app: ASGIApp, names: Names, roots: Iterable[Path] = ()) -> None:
        self.app, self.names = app, names
        self.roots = sorted({str(each) for root in roots for each in (root, root.absolute(), root.resolve())}, key=len)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in HEADERS.items())]
            await send(message)

        try:
            check(scope, self.names)
            await self.app(scope, receive, send_with_headers)
        except Exception as error:
            if begun:
                raise
            status, sentence = self.answer(error)
            headers = {"connection": "close"} if status in (408, 413) else {}
            headers |= {"retry-after": "2"} if status == 503 else {}
            await JSONResponse({"error": sentence}, status, headers)(scope, receive, send_with_headers)

    def answer(self, error: Exception) -> tuple[int, str]:
        """The status and the sentence for an error."""
        if isinstance(error, Refused):
            return error.status, str(error)
        if isinstance(error, BusyError):
            return 503, "Too many requests wait for the network; try again in a few seconds."
        if isinstance(error, MissingError):
            return 404, self.without_paths(str(error))
        if isinstance(error, ValueError):
            return 400, self.without_paths(str(error))
        if isinstance(error, OSError):
            return 500, f"A file cannot be read: {error.strerror or 'the system does not say why'}."
        traceback.print_exception(error, file=sys.stderr)
        return 500, f"Something is wrong inside ({type(error).__name__}); the terminal shows more."

    def without_paths(self, sentence: str) -> str:
        """A sentence that names files, but not where they are."""
        for root in reversed(self.roots):
            sentence = sentence.replace(root, Path(root).name)
        return printable(re.sub(r"(?<![\w.])(?:~|\.{1,2})?/(?:[^\s/'\"<>]+/)*(?=[^\s/])", "", sentence))


def check(scope: Scope, names: Names) -> None:
    """Refused for a request that may not be answered."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    host = headers.get("host", "")
    if host not in names:
        raise Refused(421, "This server does not go by that name; use the address that the terminal shows.")
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
    if origin is not None and origin != f"{scope['scheme']}://{host}":
        raise Refused(403, "Pages of other sites may not ask here.")
    visit = headers.get("sec-fetch-mode") == "navigate" and scope["method"] == "GET"
    if site not in ("none", "same-origin") and not (visit and headers.get("sec-fetch-dest") == "document"):
        raise Refused(403, "Pages of other sites may not ask here.")
    if len(scope["query_string"]) > LONGEST_QUERY:
        raise Refused(414, f"The address is longer than {LONGEST_QUERY:,} characters.")
