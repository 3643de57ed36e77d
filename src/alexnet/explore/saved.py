"""One HTML file with the views of chosen images, which opens from disk, without a server and without other files.

It holds the page's own scripts and styles, and the answers that they would ask the server for. Scripts and styles are
named in its content security policy by their hashes; it can load nothing else.
"""

import base64
import hashlib
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
from PIL import Image

from alexnet.explore.app import finite, static
from alexnet.explore.explorer import Explorer
from alexnet.explore.unit_view import layers_with_units
from alexnet.explore.view_names import COLUMNS
from alexnet.files import durable

LARGEST = 15_000_000
"""Bytes of a page, so that it can be sent by mail."""
MODULES = ("core", "draw", "arithmetic", "view_image", "view_unit", "view_kernels", "view_map", "view_network",
           "view_training", "view_tricks", "app")  # fmt: skip
"""The scripts, each after those that it imports."""
UNITS = 2
"""Maps of each tower whose arithmetic is kept, and units of each layer."""
NEIGHBOURS, POINTS, DIGITS = 12, 800, 7
QUALITY = 88


class Answers:
    """The answers of a page, by the routes that its scripts ask for."""

    def __init__(self, explorer: Explorer) -> None:
        self.explorer = explorer
        self.json: dict[str, Any] = {}
        self.images: dict[str, str] = {}

    def ask(self, name: str, **query: Any) -> Any:
        """Keep the answer of a route; returns it."""
        route = f"{name}?{urlencode(sorted(query.items()))}" if query else name
        answer = getattr(self.explorer, name.removesuffix(".png"))({key: str(value) for key, value in query.items()})
        if isinstance(answer, bytes):
            self.images[route] = as_url(answer)
        else:
            self.json[route] = answer = shortened(finite(answer))
        return answer


def as_url(png: bytes) -> str:
    """A data URL: of photos as JPEG, of what has a palette as it is."""
    with Image.open(io.BytesIO(png)) as image:
        if image.mode != "RGB" or image.width < 24:
            return f"data:image/png;base64,{base64.b64encode(png).decode()}"
        file = io.BytesIO()
        image.save(file, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def shortened(value: Any) -> Any:
    """JSON values whose numbers have `DIGITS` significant digits."""
    if isinstance(value, dict):
        return {key: shortened(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shortened(each) for each in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def save_page(explorer: Explorer, images: Sequence[str], path: Path) -> dict[str, Any]:
    """Write the page of these images, by their names. Returns `page`, `bytes`, `images`, `views`.

    Raises ValueError where it would have more than `LARGEST` bytes.
    """
    answers = Answers(explorer)
    about = answers.ask("about")
    run = explorer.runs[0]
    views = ["image", "network", "kernels"]
    for image in images:
        save_image(answers, image, [each["run"] for each in about["runs"]])
    units = save_units(answers, images)
    if units:
        views.insert(2, "unit")
    answers.ask("kernels", run=run.number)
    if explorer.maps_of_store[run.number].is_ready():
        views.append("map")
        for image in images:
            save_map(answers, image)
    if (run.path / "metrics.jsonl").exists():
        views.append("training")
        for each in answers.ask("training", run=run.number)["checkpoints"]:
            answers.ask("film.png", run=run.number, step=each["step"])
    saved = {"answers": answers.json, "images": answers.images, "chosen": list(images), "first": images[0]}
    page = html(saved | {"units": units, "views": views}).encode()
    if len(page) > LARGEST:
        raise ValueError(
            f"The page would have {len(page) / 1e6:.1f} MB, and at most {LARGEST / 1e6:.0f} can be sent; "
            "give fewer images with --image."
        )
    with durable.whole(path) as temporary:
        temporary.write_bytes(page)
    return {"page": str(path), "bytes": len(page), "images": list(images), "views": views}


def save_image(answers: Answers, image: str, runs: Sequence[int]) -> None:
    """An image's labels from every run, and its way through the first."""
    answers.ask("predict", image=image, views=10)
    for run in runs:
        answers.ask("image.png", image=image, run=run)
    first = answers.explorer.runs[0]
    layers = list(first.net.layers)
    shown = [layer for layer in layers if layer.kind in COLUMNS]
    after = [layers[i + 1].name for i, layer in enumerate(layers[:-1]) if layer in shown and
             layers[i + 1].kind == "activation"]  # fmt: skip
    for stage in answers.ask("stages", image=image, run=0)["stages"]:
        name = stage["name"]
        if name not in after and name not in [layer.name for layer in shown]:
            continue
        answers.ask("maps.png", image=image, run=0, stage=name)
        for unit in [unit for tower in stage["strongest"] for unit in tower[:UNITS]]:
            values = np.array(answers.ask("map", image=image, run=0, stage=name, unit=unit)["values"], np.float32)
            y, x = np.unravel_index(int(values.argmax()), values.shape)
            answers.ask("arithmetic", image=image, run=0, stage=name, unit=unit, y=int(y), x=int(x))


def save_units(answers: Answers, images: Sequence[str]) -> list[tuple[str, int]]:
    """The units that the first image excites most, `UNITS` of each layer; none without an index."""
    explorer = answers.explorer
    run, indexer = explorer.runs[0], explorer.indexers[0]
    if indexer is None or indexer.units is None or not indexer.units.done:
        return []
    stages = {each["name"]: each for each in answers.json[f"stages?image={images[0]}&run=0"]["stages"]}
    found = [(name, int(unit)) for name in layers_with_units(run) for unit in stages[name]["strongest"][0][:UNITS]]
    for name, unit in found:
        for each in answers.ask("unit", layer=name, run=0, unit=unit)["most"]:
            top, left, height, width = each["field"]
            answers.ask("patch.png", run=0, image=each["image"], top=top, left=left, height=height, width=width)
    return found


def save_map(answers: Answers, image: str) -> None:
    """Where an image is in the map of the store, and its neighbours."""
    found = answers.ask("store", image=image, run=0)
    every = -(-len(found["points"]) // POINTS)
    found["points"] = found["points"][::every]
    for each in answers.ask("similar", count=NEIGHBOURS, image=image, run=0)["nearest"]:
        answers.ask("image.png", image=each["image"], run=0)


def html(saved: dict[str, Any]) -> str:
    """The page around its answers."""
    packaged = {name: content.decode() for name, content in static().items()}
    data = json.dumps(saved, separators=(",", ":"), ensure_ascii=True).replace("<", "\\u003c")
    script = 'globalThis.SAVED = JSON.parse(document.getElementById("saved").textContent);\n' + bundle(packaged)
    style = packaged["style.css"]
    icon = f"data:image/svg+xml;base64,{base64.b64encode(packaged['icon.svg'].encode()).decode()}"
    policy = (
        f"default-src 'none'; script-src {hashed(script)}; style-src {hashed(style)}; img-src data:; "
        "form-action 'none'; base-uri 'none'"
    )
    page = packaged["index.html"]
    page = page.replace("<head>\n", f'<head>\n<meta http-equiv="Content-Security-Policy" content="{policy}">\n')
    page = page.replace('href="/static/icon.svg"', f'href="{icon}"')
    page = page.replace('<link rel="stylesheet" href="/static/style.css">', f"<style>{style}</style>")
    page = page.replace('<script type="module" src="/static/app.js"></script>\n', "")
    ending = f'<script type="application/json" id="saved">{data}</script>\n<script type="module">{script}</script>\n'
    return page.replace("</body>", f"{ending}</body>")


def hashed(text: str) -> str:
    """What a content security policy names inline text by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def bundle(packaged: dict[str, str]) -> str:
    """All modules as one script: each in a function of its own, which returns what the module exports."""
    return "\n".join(as_function(name, packaged[f"{name}.js"]) for name in MODULES)


def as_function(name: str, source: str) -> str:
    """A module as a function that is called at once."""
    source = re.sub(r'import \{([^}]*)\} from "\./(\w+)\.js";', r"const {\1} = module_\2;", source)
    exported = re.findall(r"^export (?:async )?(?:function|const|class) (\w+)", source, re.M)
    source = re.sub(r"^export ", "", source, flags=re.M)
    return f"const module_{name} = (() => {{\n{source}\nreturn {{ {', '.join(exported)} }};\n}})();"
