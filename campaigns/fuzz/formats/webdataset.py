"""WebDataset's shards."""

import json
import tarfile
from pathlib import Path

from alexnet.data.sources import open_source, read_bytes
from alexnet.files.printable import printable
from campaigns.fuzz.format import Format
from campaigns.fuzz.formats.tar import repair, tar_of


def examples() -> list[bytes]:
    found = []
    for number, kind in enumerate(("cls", "json", "txt")):
        files: dict[str, bytes] = {}
        for n in range(6):
            label = json.dumps({"label": f"class {n % 2}"}) if kind == "json" else str(n % 2)
            files |= {f"{n:06}.jpg": bytes([n]) * 100, f"{n:06}.{kind}": label.encode()}
        found.append(tar_of(files, (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)[number % 2]))
    return found


def read(data: bytes, folder: Path) -> None:
    file = folder / "shard.tar"
    file.write_bytes(data)
    source = open_source(file)
    for images in source.splits.values():
        for image in images:
            assert printable(image.key) == image.key and 0 <= image.label < len(source.classes)
            read_bytes(image.location)


FORMAT = Format("webdataset", 6, examples, read, repair)
