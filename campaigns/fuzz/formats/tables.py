"""Tables of labels: CSV, TSV, JSON lines, and Caffe's lists."""

import json
from pathlib import Path

from alexnet.data.sources import open_source
from alexnet.files.printable import printable
from campaigns.fuzz.format import Format

NAMES = [f"{n}.jpg" for n in range(6)]
ENDINGS = (".csv", ".tsv", ".jsonl", ".txt")
"""By the first byte of an input: the ending of the file that the rest of it becomes."""


def examples() -> list[bytes]:
    rows = [(name, f"class {n % 2}", ("train", "val")[n % 3 == 0]) for n, name in enumerate(NAMES)]
    comma, tab = (
        "".join(sign.join(row) + "\n" for row in [("file", "label", "split"), *rows]).encode() for sign in ",\t"
    )
    lines = "".join(json.dumps({"file_name": name, "label": label}) + "\n" for name, label, _ in rows).encode()
    caffe = "".join(f"{name} {n % 2}\n" for n, name in enumerate(NAMES)).encode()
    found = [bytes([kind]) + data for kind, data in enumerate((comma, tab, lines, caffe))]
    return [*found, b"\0" + comma.decode().replace(",", ";").replace("\n", "\r\n").encode("utf-16")]


def read(data: bytes, folder: Path) -> None:
    images = folder / "images"
    if not images.exists():
        images.mkdir()
        for name in NAMES:
            (images / name).touch()
    table = folder / f"table{ENDINGS[data[0] % 4 if data else 0]}"
    table.write_bytes(data[1:])
    source = open_source(images, labels=table)
    for images in source.splits.values():
        for image in images:
            assert printable(image.key) == image.key and ".." not in Path(image.key).parts
            assert 0 <= image.label < len(source.classes)


FORMAT = Format("tables", 4, examples, read)
