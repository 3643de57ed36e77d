"""Feed damaged files of every kind to what reads them, and see that each is read or refused with a reason.

    python -m campaigns.fuzz --inputs 110000 --seed 0

Whole files of ten kinds are made, then damaged: bytes and numbers changed, parts cut, doubled, moved and joined, and
checksums mended afterwards in half of the PNGs and tars, which would hide the damage from the reader. Each goes the way
that the package reads such a file. Worker processes may take `--memory` GiB beyond what they begin with; one that dies,
takes longer than `--patience` seconds for a file, or raises anything but a plain ValueError is a failure, and is
reported with the number of its input: (seed, kind, number) makes the same bytes again, `--only KIND NUMBER` writes them
to a file. Exit code 0 without failures; --json prints one object.
"""

import argparse
import gzip
import io
import json
import multiprocessing
import os
import platform
import random
import resource
import struct
import sys
import tarfile
import tempfile
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

CONTEXT = multiprocessing.get_context("forkserver")
BATCH = 1000  # inputs of one process
NUMBERS = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40]
SIZE = 16  # of the images in the stores


class Kind(NamedTuple):
    """A kind of file: its part of all inputs, whole examples, what reads it, and what mends its checksums."""

    share: int
    examples: Callable[[], list[bytes]]
    read: Callable[[bytes, Path], object]
    mend: Callable[[bytes], bytes] | None = None


def damage(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """The same with one to eight changes."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5, 8))):
        at, length = rng.randrange(len(out) + 1), rng.choice((1, 2, 4, 8, 64, 512))
        match rng.randrange(9):
            case 0 if at < len(out):
                out[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(out):
                out[at] = rng.randrange(256)
            case 2:
                size = rng.choice((1, 2, 4, 8))
                number = rng.choice(NUMBERS) % (1 << 8 * size)
                out[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))
            case 3:
                del out[at : at + length]
            case 4:
                out[at:at] = out[at : at + length]
            case 5:
                out[at:at] = rng.randbytes(length)
            case 6 if rng.random() < 0.3:
                del out[at:]
            case 7 if rng.random() < 0.3:
                other = rng.choice(others)
                out[at:] = other[rng.randrange(len(other) + 1) :]
            case 8:
                to = rng.randrange(len(out) + 1)
                out[to : to + length] = out[at : at + length]
    return bytes(out)


def make(kind: Kind, name: str, examples: list[bytes], seed: int, number: int) -> bytes:
    """Input `number` of a kind."""
    rng = random.Random(f"{seed}/{name}/{number}")
    data = damage(rng.choice(examples), examples, rng)
    return kind.mend(data) if kind.mend is not None and rng.random() < 0.5 else data


# Images: as `alexnet prepare` reads them


def encoded(file_format: str, size: tuple[int, int] = (40, 30), mode: str = "RGB", **options: Any) -> bytes:
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(len(mode)).integers(0, 256, (4, 5, 3), np.uint8)
    image = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    elif mode == "RGBA":
        image.putalpha(image.convert("L"))
    else:
        image = image.quantize(16) if mode == "P" else image.convert(mode)
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def jpegs() -> list[bytes]:
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    options: list[dict[str, Any]] = [
        {},
        {"progressive": True},
        {"subsampling": 0},
        {"exif": exif},
        {"restart_marker_blocks": 1},
    ]
    found = [encoded("JPEG", (40, 30), mode, **each) for mode in ("RGB", "L", "CMYK") for each in options]
    return [*found, encoded("JPEG", (150, 140))]


def pngs() -> list[bytes]:
    modes = ("RGB", "RGBA", "L", "P", "I;16", "1")
    return [encoded("PNG", mode=mode) for mode in modes] + [encoded("PNG", mode="P", transparency=3)]


def other_images() -> list[bytes]:
    return [
        *(encoded("WEBP", mode=mode, lossless=lossless) for mode in ("RGB", "RGBA") for lossless in (False, True)),
        *(encoded("GIF", mode=mode) for mode in ("P", "L")),
        *(encoded("BMP", mode=mode) for mode in ("RGB", "L", "P")),
    ]


def mend_png(data: bytes) -> bytes:
    """With the checksums of its chunks right as far as they can be found."""
    out, at = bytearray(data), 8
    while at + 12 <= len(out):
        end = at + 8 + struct.unpack_from(">I", out, at)[0]
        if end + 4 > len(out):
            break
        struct.pack_into(">I", out, end, zlib.crc32(out[at + 4 : end]))
        at = end + 4
    return bytes(out)


def check_decoder(data: bytes) -> None:
    """Our decoder makes of it what libjpeg-turbo makes, or leaves it to that."""
    import numpy as np
    import simplejpeg

    from alexnet.data.image import pixels

    try:
        height, width = map(int, simplejpeg.decode_jpeg_header(data)[:2])
    except (ValueError, KeyError):
        return
    if height * width > 1 << 20:
        return
    image = np.empty((height, width, 3), np.uint8)
    if pixels.decode_crops([data], (height, width), pixels.WHOLE, image[np.newaxis]).all():
        assert np.array_equal(image, simplejpeg.decode_jpeg(data))


def read_image(data: bytes, folder: Path) -> None:
    from alexnet.data.image.encode import decode_stored
    from alexnet.data.prepare.chunk import Form, prepare_chunk
    from alexnet.data.sources.source import FileAt, LabelledImage

    check_decoder(data)
    file = folder / "image"
    file.write_bytes(data)
    done = prepare_chunk([LabelledImage("key", 0, FileAt(str(file)))], Form(32, 95, True), True)
    assert len(done.rows) + len(done.bad) == 1
    if done.bad:
        assert done.bad[0].reason
        raise ValueError(done.bad[0].reason)
    assert decode_stored(done.rows[0].image).shape == (32, 32, 3)


# Archives


def tar_of(files: dict[str, bytes], file_format: int = tarfile.GNU_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=file_format) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def tars() -> list[bytes]:
    files = {f"n0210073{n}_{n}.JPEG": bytes([n]) * 700 * n for n in range(4)} | {
        "x" * 150 + ".JPEG": b"long",
        "a/é": b"?",
    }
    return [tar_of(files, each) for each in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)]


def mend_tar(data: bytes) -> bytes:
    """With the checksums of the headers right where headers were."""
    out = bytearray(data)
    for at in range(0, len(out) - 511, 512):
        if out[at + 257 : at + 262] == b"ustar":
            out[at + 148 : at + 156] = b" " * 8
            out[at + 148 : at + 156] = b"%06o\0 " % sum(out[at : at + 512])
    return bytes(out)


def read_tar(data: bytes, folder: Path) -> None:
    from alexnet.data.sources import read_bytes
    from alexnet.data.sources.tar import TarAt, members

    file = folder / "images.tar"
    file.write_bytes(data)
    for count, (_, offset, size) in enumerate(members(file)):
        assert count < 10_000
        read_bytes(TarAt(str(file), offset, size))


def meta_mats() -> list[bytes]:
    import numpy as np
    from scipy.io import savemat

    names = (
        "ILSVRC2012_ID",
        "WNID",
        "words",
        "gloss",
        "num_children",
        "children",
        "wordnet_height",
        "num_train_images",
    )
    synsets = np.zeros((4, 1), dtype=[(name, object) for name in names])
    for row in range(4):
        synsets[row, 0] = (row + 1, f"n0000000{row}", f"word {row}", "what", int(row == 3), [1, 2], 0, 1300)
    found = []
    for compressed in (True, False):
        file = io.BytesIO()
        savemat(file, {"synsets": synsets}, do_compression=compressed)
        found.append(file.getvalue())
    return found


def read_meta_mat(data: bytes, folder: Path) -> None:
    from alexnet.data.sources.devkit import read_devkit

    kit = {"data/meta.mat": data, "data/ILSVRC2012_validation_ground_truth.txt": b"1\n2\n"}
    file = folder / "devkit.tar.gz"
    file.write_bytes(gzip.compress(tar_of(kit), 1))
    read_devkit(file)


# Tables


def parquets() -> list[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = {"image": {"_type": "Image"}, "label": {"names": ["a", "b"], "_type": "ClassLabel"}}
    described = {"huggingface": json.dumps({"info": {"features": features}})}
    rows = [{"bytes": bytes([n]) * (20 + n), "path": f"{n}.jpg"} for n in range(9)]
    found = []
    for options in ({}, {"compression": "zstd", "row_group_size": 4}, {"compression": "none", "use_dictionary": False}):
        for metadata in (described, None):
            schema = pa.schema([("image", image), ("label", pa.int64())], metadata=metadata)
            table = pa.table([pa.array(rows, image), pa.array([n % 2 for n in range(9)], pa.int64())], schema=schema)
            file = io.BytesIO()
            pq.write_table(table, file, **options)
            found.append(file.getvalue())
    return found


def read_parquet(data: bytes, folder: Path) -> None:
    from alexnet.data.sources import open_source, read_bytes

    (folder / "parquet").mkdir(exist_ok=True)
    (folder / "parquet" / "train.parquet").write_bytes(data)
    for count, image in enumerate(open_source(folder / "parquet", 0.0).splits["train"]):
        assert count < 100_000
        if count < 20:
            read_bytes(image.location)


def store_rows() -> list[Any]:
    from alexnet.data.store.shard import Row

    return [Row(encoded("PNG", (SIZE, SIZE)), n % 3, f"image {n}") for n in range(5)]


def shards() -> list[bytes]:
    import pyarrow as pa

    from alexnet.data.store.shard import SCHEMA, UNCHECKED, row_checksum

    columns = [list(each) for each in zip(*store_rows(), strict=True)]
    columns.append([row_checksum(image, label, key.encode()) for image, label, key in store_rows()])
    found = []
    for schema in (SCHEMA, UNCHECKED):
        file = io.BytesIO()
        with pa.ipc.new_file(file, schema) as out:
            for rows in (slice(0, 3), slice(3, 5)):
                arrays = [pa.array(column[rows], field.type) for column, field in zip(columns, schema, strict=False)]
                out.write_batch(pa.record_batch(arrays, schema=schema))
        found.append(file.getvalue())
    return found


def read_shard(data: bytes, folder: Path) -> None:
    from alexnet.data.store.reader import StoreSplit
    from alexnet.data.store.shard import ShardInfo

    (folder / "train-00000.arrow").write_bytes(data)
    shard: ShardInfo = {"file": "train-00000.arrow", "split": "train", "rows": 5, "bytes": len(data), "sha256": ""}
    read_split(StoreSplit(folder, [shard], 3, SIZE, 3))


def read_split(split: Any) -> None:
    labels = split.labels
    for row in range(min(len(split), 20)):
        assert split.image(row).shape[2] == 3 and 0 <= labels[row] < 1000 and isinstance(split.key(row), str)


def store_folder(folder: Path) -> Path:
    """A whole store, made once."""
    import numpy as np

    from alexnet.data.prepare.partial import Partial
    from alexnet.data.store.statistics import Sums

    store = folder / "store"
    if not store.exists():
        sums = Sums.none(SIZE)
        sums.add_image(np.zeros((SIZE, SIZE, 3), np.uint8))
        plan = {
            "source": {"kind": "folder", "path": "/images"},
            "options": {"quality": 95},
            "classes": [["n1", "one"], ["n2", "two"], ["n3", "three"]],
            "encoding": "png",
        }
        with Partial(store, SIZE, plan) as partial:
            for split in ("train", "val"):
                with partial.shard(split) as shard:
                    shard.add(store_rows())
                    partial.commit(split, shard, [], sums if split == "train" else None, 5, "image 4")
            partial.finish()
    return store


def store_jsons() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        data = (store_folder(Path(folder)) / "store.json").read_bytes()
    return [data, json.dumps(json.loads(data)).encode()]


def mend_store_json(data: bytes) -> bytes:
    """With a value changed for another, if it can be understood, and its own checksum right."""
    from alexnet.data.store.info import seal

    rng = random.Random(data)
    try:
        info = json.loads(data)
        at = info
        while isinstance(at, dict | list) and at:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            key = rng.choice(keys)
            if rng.random() < 0.3 or not isinstance(at[key], dict | list):
                odd = (None, True, -1, 0, 2**31, 2**70, 0.5, "", "../x", "x" * 300, [], {}, [[]], {"images": -1})
                at[key] = rng.choice(odd)
                break
            at = at[key]
        return json.dumps(seal(info)).encode()
    except (ValueError, TypeError, AttributeError, RecursionError):
        return data


def read_store_json(data: bytes, folder: Path) -> None:
    from alexnet.data.store.reader import Store

    store = store_folder(folder)
    (store / "store.json").write_bytes(data)
    opened = Store(store)
    for name in opened.splits:
        read_split(opened.split(name))


# What a training writes


def npys() -> list[bytes]:
    import numpy as np

    found = []
    for array in (np.zeros((SIZE, SIZE, 3), np.float32), np.arange(9.0).reshape(3, 3), np.array([{}, 1], object)):
        file = io.BytesIO()
        np.save(file, array, allow_pickle=True)
        found.append(file.getvalue())
    return found


def read_npy(data: bytes, folder: Path) -> None:
    from alexnet.files.arrays import read_array

    (folder / "mean.npy").write_bytes(data)
    assert read_array(folder / "mean.npy").dtype.kind != "O"


def checkpoint_files() -> list[bytes]:
    import torch
    from safetensors.torch import save

    state = {"best_step": 3, "top1_error": 0.5, "step": 3, "epoch": 1.0, "schedule": {"drops": 0, "best": None}}
    tensors = {
        "0.weight": torch.zeros(4, 3, 2, 2),
        "0.bias": torch.ones(4),
        "1.weight": torch.ones(2, 4),
        "1.bias": torch.ones(2),
    }
    return [save(tensors), save({"x": torch.ones(3, dtype=torch.bfloat16)}), json.dumps(state, indent=2).encode()]


def read_checkpoint(data: bytes, folder: Path) -> None:
    import torch
    from torch import nn

    from alexnet.training import checkpoint

    run, network = folder / "run", nn.Sequential(nn.Conv2d(3, 4, 2), nn.Linear(4, 2))
    state = data[:1] in (b"{", b"[")
    if not run.exists():
        checkpoint.save(run, 3, network.state_dict(), {"0.bias": torch.zeros(4)}, {"best_step": 3})
    path = checkpoint.checkpoints(run)[0].path
    whole = {name: (path / name).read_bytes() for name in (checkpoint.STATE, checkpoint.WEIGHTS, checkpoint.SUMS)}
    (path / (checkpoint.STATE if state else checkpoint.WEIGHTS)).write_bytes(data)
    if data[-1:] > b"0":  # else it is refused for its checksum
        (path / checkpoint.SUMS).unlink()
    try:
        found = checkpoint.find(run, "last")
        assert isinstance(found.state(), dict)
        checkpoint.load_weights(network, found)
    finally:
        for name, content in whole.items():
            (path / name).write_bytes(content)


KINDS = {
    "jpeg": Kind(25, jpegs, read_image),
    "png": Kind(25, pngs, read_image, mend_png),
    "webp, gif, bmp": Kind(10, other_images, read_image),
    "tar": Kind(10, tars, read_tar, mend_tar),
    "meta.mat": Kind(8, meta_mats, read_meta_mat),
    "parquet": Kind(6, parquets, read_parquet),
    "arrow": Kind(8, shards, read_shard),
    "store.json": Kind(8, store_jsons, read_store_json, mend_store_json),
    "npy": Kind(4, npys, read_npy),
    "checkpoint": Kind(6, checkpoint_files, read_checkpoint),
}


def memory(field: str) -> int:
    """Bytes of this process: VmSize (address space) or VmHWM (most resident so far)."""
    return int(Path("/proc/self/status").read_text().split(f"{field}:")[1].split()[0]) * 1024


def work(name: str, seed: int, numbers: range, gib: float, at: Any, answer: Any) -> None:
    """Read the inputs `numbers` of a kind; send what became of them, and tell in `at` which one it is at."""
    kind = KINDS[name]
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (warnings about damaged checkpoints)
    warnings.simplefilter("ignore")
    examples = kind.examples()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as place:
        folder = Path(place)
        kind.read(examples[0], folder)  # a whole one is read; imports everything
        limit = memory("VmSize") + int(gib * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        before, counts, failures, slowest = memory("VmHWM"), Counter(), [], 0.0
        for number in numbers:
            at.value = number
            data, began = make(kind, name, examples, seed, number), time.monotonic()
            try:
                kind.read(data, folder)
                counts["read"] += 1
            except Exception as error:
                counts["refused"] += 1
                if type(error) not in (ValueError,) and type(error).__name__ != "DamagedError":
                    failures.append([name, number, f"{type(error).__name__}: {error}"[:300]])
            slowest = max(slowest, time.monotonic() - began)
        answer.send((dict(counts), failures, slowest, memory("VmHWM") - before))


def campaign(inputs: int, seed: int, workers: int, gib: float, patience: float) -> dict[str, Any]:
    """All of it; the result in numbers, with every failure."""
    CONTEXT.set_forkserver_preload(["alexnet.training.checkpoint", "alexnet.data.prepare.prepare", "scipy.io"])
    began, total = time.monotonic(), sum(kind.share for kind in KINDS.values())
    jobs = []
    for name, kind in KINDS.items():
        count = -(-inputs * kind.share // total)
        jobs += [(name, range(first, min(first + BATCH, count))) for first in range(0, count, BATCH)]
    results = {name: Counter({"read": 0, "refused": 0}) for name in KINDS}
    worst = {name: {"seconds": 0.0, "bytes": 0} for name in KINDS}
    failures: list[list[Any]] = []
    running: list[tuple[Any, ...]] = []

    def start(name: str, numbers: range) -> None:
        at = CONTEXT.Value("q", -1, lock=False)
        receiver, sender = CONTEXT.Pipe(False)
        process = CONTEXT.Process(target=work, args=(name, seed, numbers, gib, at, sender))
        process.start()
        sender.close()
        running.append((process, name, numbers, at, receiver, [-1, time.monotonic()]))

    while jobs or running:
        while jobs and len(running) < workers:
            start(*jobs.pop(0))
        time.sleep(0.01)
        for entry in list(running):
            process, name, numbers, at, receiver, seen = entry
            if receiver.poll():
                try:
                    counts, failed, slowest, peak = receiver.recv()
                except EOFError:  # it died
                    process.join()
                else:
                    process.join()
                    results[name].update(counts)
                    failures += failed
                    worst[name]["seconds"] = round(max(worst[name]["seconds"], slowest), 3)
                    worst[name]["bytes"] = max(worst[name]["bytes"], peak)
                    running.remove(entry)
                    continue
            if at.value != seen[0]:
                seen[:] = [at.value, time.monotonic()]
            hangs = time.monotonic() - seen[1] > patience
            if process.is_alive() and not hangs:
                continue
            process.kill()
            process.join()
            running.remove(entry)
            what = "takes too long" if hangs else f"the process ended with {process.exitcode}"
            failures.append([name, at.value, what])
            print(f"{name} {at.value}: {what}", file=sys.stderr, flush=True)
            if at.value < 0:
                raise RuntimeError(f"{name} cannot even begin: {what}")
            results[name]["failed"] += 1
            if numbers.start <= at.value and at.value + 1 < numbers.stop:  # what it had counted is done again
                jobs.insert(0, (name, range(at.value + 1, numbers.stop)))
                if at.value > numbers.start:
                    jobs.insert(0, (name, range(numbers.start, at.value)))
    done = sum(sum(each.values()) for each in results.values())
    return {
        "inputs": done,
        "seed": seed,
        "failures": failures,
        "kinds": {name: dict(results[name]) | worst[name] for name in KINDS},
        "worst_seconds": max(each["seconds"] for each in worst.values()),
        "worst_bytes": max(each["bytes"] for each in worst.values()),
        "memory_limit_bytes": int(gib * 2**30),
        "seconds": round(time.monotonic() - began, 1),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}",
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=110_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory", type=float, default=2.0, help="GiB that a process may take beyond its start")
    parser.add_argument("--patience", type=float, default=30.0, help="seconds for one input")
    parser.add_argument("--only", nargs=2, metavar=("KIND", "NUMBER"), help="write this input to ./input and stop")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.only:
        name, number = args.only
        Path("input").write_bytes(make(KINDS[name], name, KINDS[name].examples(), args.seed, int(number)))
        return 0
    found = campaign(args.inputs, args.seed, args.workers, args.memory, args.patience)
    if args.json:
        print(json.dumps(found))
    else:
        for name, each in found["kinds"].items():
            print(f"{name:>15}  {each}")
        for name, number, what in found["failures"][:50]:
            print(f"FAILURE {name} {number}: {what}")
        print({key: value for key, value in found.items() if key not in ("kinds", "failures")})
    return 1 if found["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
