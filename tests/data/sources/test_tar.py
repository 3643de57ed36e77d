"""Members of a tar are found where they are, also inside another file. (Damaged archives: test_ilsvrc.py.)"""

import io
import tarfile
import tracemalloc
from pathlib import Path

import miniature
import pytest

from alexnet.data.sources.tar import members


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_of_all_tar_formats_are_found(tmp_path: Path, format: int) -> None:
    long = "x" * 60 + "/" + "ü" * 40 + ".JPEG"
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w", format=format) as archive:
        for name, content in {"folder/": b"", long: b"first", "short": b"second"}.items():
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    outer = tmp_path / "outer.tar"
    outer.write_bytes(miniature.tar_bytes([("before", b".."), ("inner.tar", inner.getvalue())]))
    (_, start, size) = list(members(outer))[1]
    found = {name: outer.read_bytes()[offset : offset + size] for name, offset, size in members(outer, start, size)}
    assert found == {long: b"first", "short": b"second"}


def test_the_memory_for_listing_does_not_grow_with_the_archive(tmp_path: Path) -> None:
    file = tmp_path / "large.tar"
    file.write_bytes(miniature.tar_bytes((f"{n}.JPEG", b"") for n in range(3000)))
    tracemalloc.start()
    try:
        assert sum(1 for _ in members(file)) == 3000
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()
