"""The routes: pages, scripts and styles, and what `Explorer` answers as JSON and PNG."""

import json
from collections.abc import Callable, Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from alexnet.explore.guard import Guard, MissingError, Names
from alexnet.explore.images import is_large
from alexnet.explore.opening import Opening
from alexnet.explore.receive import Receiver
from alexnet.explore.worker import Lane, Lanes

PAGES = ("/", "/image", "/image/{rest}", "/network", "/unit", "/unit/{layer}/{unit}", "/kernels", "/map", "/tricks",
         "/training")  # fmt: skip
"""Addresses of views; all are one page, whose script reads the address."""
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
LABELS = ("predict",)
"""Answers for which several images share a forward pass."""
WITH_NETWORK = ("stages", "maps.png", "map", "arithmetic", "tricks", "trick-input.png", "trick-maps.png")
"""Answers that may take a forward pass: they come one after the other."""
SEARCHES = ("store", "similar")
"""Answers that read the index."""
WITHOUT = (
    "about",
    "list",
    "image.png",
    "patch.png",
    "mean.png",
    "progress",
    "unit",
    "units",
    "kernels",
    "training",
    "film.png",
)


def static() -> dict[str, bytes]:
    """The packaged files by name."""
    return {
        each.name: each.read_bytes()
        for each in files("alexnet.explore").joinpath("static").iterdir()
        if each.name.rpartition(".")[2] in TYPES
    }


def make_app(opening: Opening, names: Names, lanes: Lanes, roots: Iterable[Path] = ()) -> Guard:
    """The application, behind its guard. No answer tells where the folders `roots` are."""
    packaged = static()
    receiver = Receiver()

    async def page(request: Request) -> Response:
        return Response(packaged["index.html"], media_type="text/html", headers={"cache-control": "no-cache"})

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in packaged or name == "index.html":
            raise MissingError("There is no such file.")
        kind = TYPES[name.rpartition(".")[2]]
        return Response(packaged[name], media_type=kind, headers={"cache-control": "no-cache"})

    async def send(request: Request) -> Response:
        data = await receiver.body(request)
        if not data:
            raise ValueError("Nothing was sent; send the bytes of an image.")
        explorer = await opening.explorer()
        lane = lanes.decode_large if await lanes.other.run(is_large, data) else lanes.decode
        return as_response(await lane.run(explorer.add, data))

    def answer(name: str, lane: Lane) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            method = getattr(await opening.explorer(), name.removesuffix(".png").replace("-", "_"))
            return as_response(await lane.run(method, dict(request.query_params)))

        return endpoint

    async def unknown(request: Request) -> Response:
        raise MissingError("There is no such address; docs/explore.md lists them.")

    of = {lanes.labels: LABELS, lanes.network: WITH_NETWORK, lanes.search: SEARCHES, lanes.other: WITHOUT}
    routes = [
        *(Route(path, page) for path in PAGES),
        Route("/static/{name}", file),
        Route("/api/images", send, methods=["POST"]),
        *(Route(f"/api/{name}", answer(name, lane)) for lane, names_ in of.items() for name in names_),
        Route("/{rest:path}", unknown, methods=METHODS),
    ]
    return Guard(Router(routes, redirect_slashes=False), names, roots)


def as_response(answer: Any) -> Response:
    """JSON of values, PNG of bytes. Numbers that JSON does not have (not finite) become null."""
    kept = {"cache-control": "no-store"}
    if isinstance(answer, bytes):
        return Response(answer, media_type="image/png", headers=kept)
    return Response(to_json(answer), media_type="application/json", headers=kept)


def to_json(answer: Any) -> str:
    """JSON without spaces."""
    try:
        return json.dumps(answer, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return json.dumps(finite(answer), separators=(",", ":"))


def finite(value: Any) -> Any:
    """JSON values with None for numbers that are not finite."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and value - value != 0 else value
