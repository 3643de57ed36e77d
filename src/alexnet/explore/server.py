"""Listens: uvicorn, with bounds on connections and on the patience for slow ones."""

import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from alexnet.explore import bounds
from alexnet.explore.guard import LOOPBACK


class PatientProtocol(H11Protocol):
    """HTTP that closes a connection whose next request does not arrive in time: a sender who opens hundreds and sends a
    byte now and then would keep all others out."""

    watch: Any = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.expect()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.expect()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.expect()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.watch is not None:
            self.watch.cancel()
        super().connection_lost(exc)

    def is_waiting(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def expect(self) -> None:
        """Count the time from when this connection began to wait for a request."""
        if not self.is_waiting():
            if self.watch is not None:
                self.watch.cancel()
            self.watch = None
        elif self.watch is None:
            self.watch = self.loop.call_later(bounds.SECONDS_FOR_HEADERS, self.give_up)

    def give_up(self) -> None:
        self.watch = None
        if self.is_waiting() and not self.transport.is_closing():
            self.transport.close()


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. ValueError where the port is taken or the address is not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except (OSError, OverflowError) as error:
        made.close()
        reason = getattr(error, "strerror", None) or "no such port"
        raise ValueError(f"{host}, port {port}: {reason}; give another with --port or --host.") from None
    made.listen(bounds.CONNECTIONS)
    return made


def url(host: str, port: int) -> str:
    """The address for a browser."""
    name = "127.0.0.1" if host in ("0.0.0.0", "::", *LOOPBACK) else host
    return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"


class Server(uvicorn.Server):
    """uvicorn, which calls `ready` once it answers."""

    def __init__(self, app: Any, ready: Callable[[], None]) -> None:
        config = uvicorn.Config(
            app,
            http=PatientProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=bounds.CONNECTIONS,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=3,
        )
        super().__init__(config)
        self.ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready()

    def stop(self) -> None:
        """End soon. Any thread may call it."""
        self.should_exit = True
