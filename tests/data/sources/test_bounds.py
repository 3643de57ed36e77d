"""Small files of strangers cost little: at most 2 GiB of memory and ten seconds. Each reader is tried at its bound."""

import gzip
import io
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bounds import Cost, cost

from alexnet.data.sources import cifar, devkit, matfile, pickled, tar
from alexnet.data.sources.devkit import META, TRUTH
from alexnet.files import json_file


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def structs(count: int, fields: int = 1, dimensions: int = 1) -> bytes:
    """A meta.mat that declares `count` empty records."""
    names = b"".join(bytes([97 + i, 0]) for i in range(fields))
    shape = struct.pack(f"<{dimensions + 1}i", count, *[1] * dimensions)
    body = element(6, struct.pack("<II", 2, 0)) + element(5, shape) + element(1, b"synsets")
    body += element(5, struct.pack("<i", 2)) + element(1, names) + struct.pack("<II", 14, 0) * (count * fields)
    return mat(struct.pack("<II", 14, len(body)) + body)


def numbers(length: int) -> bytes:
    """A meta.mat with one record that holds `length` bytes of numbers."""
    value = element(6, struct.pack("<II", 9, 0)) + element(5, struct.pack("<ii", 1, length)) + element(1, b"")
    value = element(14, value + element(4, bytes(range(1, 201)) * (length // 200)))
    body = element(6, struct.pack("<II", 2, 0)) + element(5, struct.pack("<ii", 1, 1)) + element(1, b"synsets")
    body += element(5, struct.pack("<i", 2)) + element(1, b"a\0") + value
    return mat(struct.pack("<II", 14, len(body)) + body)


def mat(variable: bytes, times: int = 1) -> bytes:
    """A meta.mat that holds a variable so many times."""
    packed = zlib.compress(variable, 9)
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + (struct.pack("<II", 15, len(packed)) + packed) * times


def kit(meta: bytes = b"x", truth: bytes = b"1\n", before: bytes = b"") -> bytes:
    """A development kit; `before` are raw blocks at the start of its tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in ((META, meta), (TRUTH, truth)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(before + buffer.getvalue(), 1)


def header(name: str, kind: bytes, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % tarfile.BLOCKSIZE)


def cost_of_devkit(tmp_path: Path, content: bytes) -> Cost:
    (tmp_path / "kit.tar.gz").write_bytes(content)
    imports = "from pathlib import Path\nimport numpy\nfrom alexnet.data.sources.devkit import read_devkit"
    return cost(imports, f"read_devkit(Path({str(tmp_path / 'kit.tar.gz')!r}))")


RECORDS, FIELDS = matfile.MOST_RECORDS, matfile.MOST_FIELDS


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda: kit(structs(RECORDS, FIELDS)), "it has no field 'num_children'"),  # at the bound
        (lambda: kit(structs(RECORDS + 1)), "more than 65,536 records or 16 fields"),
        (lambda: kit(structs(1, FIELDS + 1)), "more than 65,536 records or 16 fields"),
        (lambda: kit(structs(2, 1, 2000)), "a matrix has no shape"),
        (lambda: kit(structs(4_100_000)), "more than 65,536 records"),
        (lambda: kit(numbers(matfile.LARGEST - 1000)), "cannot be understood"),  # at the bound
        (lambda: kit(mat(bytes(matfile.LARGEST + 1))), "too large"),
        (lambda: kit(mat(bytes(matfile.LARGEST // 3), times=400)), "too large"),
        (lambda: kit(bytes(devkit.LARGEST)), "unpacks to more than 64 MiB"),
        (lambda: kit(bytes(devkit.LARGEST - 20_000)), "not a MATLAB file"),  # at the bound
        (lambda: kit(structs(3), b"12\n" * (devkit.LARGEST_TRUTH // 3)), "cannot be understood"),  # at the bound
        (lambda: kit(structs(3), b"12\n" * (devkit.LARGEST_TRUTH // 2)), "more than 4 MiB"),
        (lambda: kit(before=header("x", b"x", 1 << 32)), "damaged or cut off"),
        (lambda: kit(before=long_pax(1 << 20)), "a header of more than 256 KiB"),
        (lambda: gzip.compress(header("x", b"x", 1 << 32) + bytes(1 << 27), 1), "unpacks to more than 64 MiB"),
    ],
)
def test_a_small_development_kit_costs_little(tmp_path: Path, content: Callable[[], bytes], reason: str) -> None:
    found = cost_of_devkit(tmp_path, content())
    assert reason in found.outcome and "\n" not in found.outcome
    assert found.is_bounded, found


def long_pax(size: int) -> bytes:
    record = b"%d comment=" % size
    return header("x", b"x", size) + padded(record + b"x" * (size - len(record) - 1) + b"\n")


def sparse(entries: int) -> bytes:
    """A file with a map of holes of pax, version 1.0, in its content."""
    records = b"22 GNU.sparse.major=1\n" + b"22 GNU.sparse.minor=0\n" + b"20 GNU.sparse.name=x\n"
    content = padded(b"%d\n" % entries + b"0\n0\n" * entries)
    return header("p", b"x", len(records)) + padded(records) + header("x", b"0", len(content)) + content


@pytest.mark.parametrize(
    ("blocks", "reason"),
    [
        (lambda: long_pax(tar.MOST_HEADER - 3 * 512), "read"),  # at the bound
        (lambda: long_pax(tar.MOST_HEADER), "a header of more than 256 KiB"),
        (lambda: header("x", b"L", 1 << 22) + bytes(1 << 22), "a header of more than 256 KiB"),
        (lambda: header("x", b"K", 1 << 22) + bytes(1 << 22), "a header of more than 256 KiB"),
        (lambda: header("x", b"g", 1 << 22) + bytes(1 << 22), "a header of more than 256 KiB"),
        (lambda: header("x", b"L", 1 << 33), "damaged or cut off"),
        (lambda: sparse(20), "a file with holes: pack it without --sparse"),
        (lambda: sparse(1 << 24), "a header of more than 256 KiB"),
        (lambda: header("x", b"S", 0), "a file with holes"),
        (lambda: (header("x", b"L", 2) + padded(b"y\0")) * 100_000, "256 KiB|headers are nested"),
        (lambda: (header("x", b"x", 12) + padded(b"12 comment=\n")) * 100_000, "256 KiB|headers are nested"),
    ],
)
def test_the_headers_of_a_tar_cost_little(tmp_path: Path, blocks: Callable[[], bytes], reason: str) -> None:
    file = tmp_path / "images.tar"
    file.write_bytes(blocks() + header("last.jpg", b"0", 3) + padded(b"abc") + bytes(2 * tarfile.BLOCKSIZE))
    imports = "from pathlib import Path\nfrom alexnet.data.sources.tar import members"
    found = cost(imports, f"for _ in members(Path({str(file)!r})): pass")
    assert any(each in found.outcome for each in reason.split("|")), found.outcome
    assert found.is_bounded and found.bytes < 200 << 20, found


def test_many_global_headers_do_not_add_up(tmp_path: Path) -> None:
    def member(number: int) -> bytes:
        records = b"".join(b"%d k%06d_%03d=%s\n" % (100, number, i, b"v" * 83) for i in range(100))
        assert len(records) == 100 * 100
        return header("g", b"g", len(records)) + padded(records) + header(f"{number}.jpg", b"0", 0)

    file = tmp_path / "images.tar"
    file.write_bytes(b"".join(map(member, range(1000))) + bytes(2 * tarfile.BLOCKSIZE))
    imports = "from pathlib import Path\nfrom alexnet.data.sources.tar import members"
    found = cost(imports, f"assert sum(1 for _ in members(Path({str(file)!r}))) == 1000")
    assert found.outcome == "read" and found.is_bounded and found.bytes < 5 << 20, found


def zeros(length: int, small: int = 0) -> pa.Array:
    """Binary values: one of `length` zeros, then `small` of a single zero. Little memory is touched for them."""
    ends = np.arange(-1, small + 1, dtype=np.int32) + length
    ends[0] = 0
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(np.zeros(length + small, np.uint8))]
    return pa.Array.from_buffers(pa.binary(), 1 + small, buffers)


def repeated(length: int, rows: int) -> pa.Array:
    """Rows that all hold the same zeros, which stand once in a dictionary."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), zeros(length))


def write_parquet(file: Path, images: Any, labels: Any = None, **options: Any) -> None:
    table = pa.table({"image": images, "label": labels or [row % 2 for row in range(len(images))]})
    pq.write_table(table, file, compression="zstd", compression_level=-5, write_statistics=False, **options)


WHOLE = {"dictionary_pagesize_limit": 1_900_000_000, "data_page_size": 1_900_000_000}
"""All values in one page."""
LOWER = """
from alexnet.data.sources import parquet_pages
parquet_pages.MOST_PAGE, parquet_pages.MOST_BATCH = 9 << 20, 8 << 20
"""
"""A thirty-second of the true bounds, for the files beyond them."""
PLAIN = {"use_dictionary": False}


@pytest.mark.parametrize(
    ("write", "bounds", "outcome"),
    [
        (lambda file: write_parquet(file, repeated(287 << 20, 2), **WHOLE), "", "larger than 256 MiB"),  # at the bound
        (lambda file: write_parquet(file, zeros(446 << 20, 1), **PLAIN), "", "larger than 256 MiB"),  # at the bound
        (lambda file: write_parquet(file, repeated(10 << 20, 4), **WHOLE), LOWER, "a page of 10,485,764 bytes"),
        (lambda file: write_parquet(file, repeated(2_000_000, 500), **WHOLE), LOWER, "read"),
        (lambda file: write_parquet(file, zeros(450 << 20, 2), **PLAIN), "", "a page of 471,859,2"),
        (lambda file: write_parquet(file, [b"x"] * 4, ["a" * 10_000_000, "b"] * 2), "", "texts in place of labels"),
        (lambda file: write_parquet(file, [b"x"] * 500_000), "", "claims 500,000 rows in 1 row groups"),
        (lambda file: write_parquet(file, [bytes(i + 1) for i in range(500)], row_group_size=1), "", "read"),
    ],
    ids=range(8),
)
def test_a_small_parquet_file_costs_little(
    tmp_path: Path, write: Callable[[Path], None], bounds: str, outcome: str
) -> None:
    write(tmp_path / "train.parquet")
    assert (tmp_path / "train.parquet").stat().st_size < 4 << 20
    imports = "import itertools\nfrom pathlib import Path\nimport pyarrow.parquet\n"
    imports += f"from alexnet.data.sources import open_source, read_bytes\n{bounds}"
    call = f"for image in itertools.islice(open_source(Path({str(tmp_path)!r}), 0.0).splits['train'], 12): "
    found = cost(imports, call + "read_bytes(image.location)")
    assert outcome in found.outcome and found.is_bounded, found
    assert not bounds or found.bytes < 64 << 20, found


def many_objects(length: int) -> str:
    return "[" + "{}," * (length // 3 - 2) + "0]"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *((name, "[" * 200_000) for name in ("config.json", "classes.json", "store.json")),
        *((name, '{"a":' * 200_000) for name in ("config.json", "classes.json", "store.json")),
        *((name, '"' + "\\" * (1 << 24)) for name in ("config.json", "classes.json", "store.json")),
        *((name, many_objects(1 << 21)) for name in ("config.json", "store.json")),
        ("classes.json", many_objects(json_file.LARGEST)),  # at the bound
    ],
)
def test_json_costs_little(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert len(content) <= json_file.LARGEST
    readers = {
        "config.json": ("from alexnet.config import load_config as read", tmp_path / name),
        "classes.json": ("from alexnet.data.classes import read_classes as read", tmp_path / name),
        "store.json": ("from alexnet.data.store.info import read_info as read", tmp_path),
    }
    imports, path = readers[name]
    found = cost(f"from pathlib import Path\n{imports}", f"read(Path({str(path)!r}))")
    assert name in found.outcome and "\n" not in found.outcome
    assert found.is_bounded, found


def test_text_of_the_longest_length_costs_little(tmp_path: Path) -> None:
    for folder in ("train/a", "train/b", "val/images"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "val/val_annotations.txt").write_bytes(b"ab\n" * (1 << 17))
    imports = "from pathlib import Path\nfrom alexnet.data.sources import open_source"
    found = cost(imports, f"open_source(Path({str(tmp_path)!r}))")
    assert "line 1: 'nothing' is not a class" in found.outcome and found.is_bounded, found
    (tmp_path / "val/val_annotations.txt").write_text("".join(f"{n:x}\ta\n" for n in range(900_000)))
    found = cost(imports, f"open_source(Path({str(tmp_path)!r}))")
    assert "the train split" in found.outcome and found.is_bounded, found


CIFAR = "from pathlib import Path\nimport numpy, io\nfrom alexnet.data.sources import cifar, open_source"


def cost_of_cifar(file: Path) -> Cost:
    return cost(CIFAR, f"open_source(Path({str(file)!r}))")


@pytest.mark.parametrize("unpacked", [cifar.LARGEST - (1 << 20), cifar.LARGEST + (1 << 20)])
def test_an_archive_of_cifar_at_its_bound(tmp_path: Path, unpacked: int) -> None:
    file = tmp_path / "cifar-10-binary.tar.gz"
    member = padded(header("x", tarfile.REGTYPE, unpacked - (1 << 16)))
    with gzip.open(file, "wb", 1) as packed:
        packed.write(member)
        for _ in range((unpacked - (1 << 16)) >> 16):
            packed.write(bytes(1 << 16))
        packed.write(bytes(1 << 16))
    found = cost_of_cifar(file)
    expected = "does not contain batches.meta.txt" if unpacked < cifar.LARGEST else "unpacks to more than 512 MiB"
    assert expected in found.outcome
    assert found.is_bounded, found


def instructions(count: int) -> bytes:
    """A pickle of a list of `count` numbers."""
    return b"\x80\x02](" + b"K\x01" * (count - 5) + b"e."


def encodings(of: int, times: int) -> bytes:
    """A pickle that makes bytes of one text of `of` letters again and again."""
    text = b"X" + struct.pack("<I", of) + b"a" * of
    return b"c_codecs\nencode\nq\x00" + text + b"X\x06\0\0\0latin1\x86q\x01" + b"h\x00h\x01R" * times + b"."


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (instructions(pickled.MOST_INSTRUCTIONS - 1), "it holds no dictionary"),
        (instructions(pickled.MOST_INSTRUCTIONS + 1), "more than 2,097,152 instructions"),
        (b"]" + b"q\x00](h\x00h\x00e" * 31 + b".", "refers to its parts too often"),
        (b"](" + b"K\x01" * 300_000 + b"eq\x00](" + b"h\x00" * 4000 + b"e.", "refers to its parts too often"),
        (b"N" * 200_000 + b"(t" * 100_000 + b".", "it holds no dictionary"),
        (encodings(of=100_000, times=30_000), "makes bytes of a text too often"),
        (b"T" + struct.pack("<i", 160_000_000) + b"\xff" * 160_000_000 + b".", "it holds no dictionary"),
    ],
    ids=[
        *("most instructions", "one more", "a list that doubles 31 times", "a long list that is named often"),
        *("many marks above many values", "a text that is encoded often", "a text as long as CIFAR-100"),
    ],
)
def test_a_pickle_at_its_bound(tmp_path: Path, content: bytes, reason: str) -> None:
    for name in (*cifar.BATCHES, "batches.meta"):
        (tmp_path / name).write_bytes(b"\x80\x02}U\x0blabel_names](U\x01aU\x01bes.")
    (tmp_path / "data_batch_1").write_bytes(content)
    found = cost_of_cifar(tmp_path)
    assert reason in found.outcome
    assert found.is_bounded, found
