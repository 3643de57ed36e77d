"""Archives as `alexnet download` unpacks them: tar.gz and zip."""

import gzip
import io
import shutil
import zipfile
from pathlib import Path

from alexnet.data.download.unpack import unpack
from campaigns.fuzz.format import Format
from campaigns.fuzz.formats import tar

FILES = {f"top/class {n % 2}/{n}.jpg": bytes([n]) * 300 for n in range(4)}
ZIP = b"PK"


def examples() -> list[bytes]:
    """The tar inside the tar.gz, and the zip."""
    packed, stored = io.BytesIO(), io.BytesIO()
    for file, how in ((packed, zipfile.ZIP_DEFLATED), (stored, zipfile.ZIP_STORED)):
        with zipfile.ZipFile(file, "w", how) as archive:
            for name, content in FILES.items():
                archive.writestr(name, content)
    return [tar.tar_of(FILES), tar.tar_of(FILES | {"top/" + "x" * 150: b"long"}), packed.getvalue(), stored.getvalue()]


def repair(data: bytes) -> bytes:
    return data if data.startswith(ZIP) else tar.repair(data)


def read(data: bytes, folder: Path) -> None:
    inside = folder / "inside"
    shutil.rmtree(inside, ignore_errors=True)
    archive = folder / ("archive.zip" if data.startswith(ZIP) else "archive.tar.gz")
    archive.write_bytes(data if data.startswith(ZIP) else gzip.compress(data, 1))
    try:
        unpack(archive, inside / "out", "top")
    finally:
        found = list(inside.rglob("*"))
        assert all((each.is_file() or each.is_dir()) and not each.is_symlink() for each in found)
        assert {each.name for each in inside.iterdir()} <= {"out"} if inside.exists() else True
        assert {each.name for each in folder.iterdir()} <= {"inside", "archive.zip", "archive.tar.gz"}


FORMAT = Format("archives", 4, examples, read, repair)
