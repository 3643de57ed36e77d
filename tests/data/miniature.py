"""Builders of miniature data sets in every layout that the package reads, with a few unreadable images.

Plain functions. Those that write take the folder or file to write, which need not exist, and return it.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from alexnet.data.sources import Source

LEAVES = (  # ILSVRC2012_ID, wnid, words: the numbers run in no order of the wnids
    (1, "n02119789", "kit fox, Vulpes macrotis"),
    (2, "n02100735", "English setter"),
    (3, "n01440764", "tench, Tinca tinca"),
    (4, "n03888257", "parachute, chute"),
    (5, "n02979186", "cassette player"),
)
INNER = ((6, "n00001740", "entity"), (7, "n02084071", "dog, domestic dog, Canis familiaris"))
"""Synsets with children: in meta.mat, but no classes."""

TRUTH = (3, 1, 5, 2, 4, 3, 2, 5)
"""ILSVRC2012_ID of the validation images in turn."""


def image(seed: int = 0, width: int = 40, height: int = 30, format: str = "JPEG", mode: str = "RGB") -> bytes:
    """An encoded image of soft random colours; the same seed gives the same one."""
    noise = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    made = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).convert(mode)
    file = io.BytesIO()
    made.save(file, format)
    return file.getvalue()


def fingerprint(data: bytes) -> str:
    """A short stand-in for bytes in comparisons: pytest takes minutes to show how long bytes differ."""
    return hashlib.sha256(data).hexdigest()[:12]


def keys(source: Source, split: str) -> set[str]:
    return {image.key for image in source.splits[split]}


def labels_by_key(source: Source) -> dict[str, str]:
    """The wnid of every image of a source, by its key."""
    return {image.key: source.classes[image.label].wnid for split in source.splits.values() for image in split}


def odd_images() -> dict[str, bytes]:
    """What ILSVRC-2012 holds besides colour JPEGs, by name; only "truncated" is not a whole image."""
    return {
        "grey": image(1, mode="L"),
        "cmyk": image(2, mode="CMYK"),
        "png": image(3, format="PNG"),
        "truncated": image(4, width=400, height=300)[:700],
    }


def tar_bytes(files: Iterable[tuple[str, bytes]]) -> bytes:
    """A tar of the files, by name and in the order given."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def folder(root: Path, images: Mapping[str, int], seed: int = 0) -> Path:
    """Class folders with the given number of images each: {"train/a": 3, "val/a": 1}; named 000.jpg and so on."""
    for index, (name, count) in enumerate(images.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (root / name / f"{number:03}.jpg").write_bytes(image(seed + 1000 * index + number))
    return root


def train_files(images_per_class: int = 3) -> dict[str, dict[str, bytes]]:
    """Training images of the miniature ILSVRC-2012: wnid to name to bytes; one class has the odd ones."""
    files = {
        wnid: {f"{wnid}_{7 * n + 1}.JPEG": image(100 * number + n) for n in range(images_per_class)}
        for number, wnid, _ in LEAVES
    }
    odd = LEAVES[0][1]
    files[odd] |= {f"{odd}_{1000 + n}.JPEG": data for n, data in enumerate(odd_images().values())}
    return files


def val_files() -> dict[str, bytes]:
    """The validation images of the miniature ILSVRC-2012: name to bytes."""
    return {f"ILSVRC2012_val_{n:08}.JPEG": image(10_000 + n) for n in range(1, len(TRUTH) + 1)}


def meta_mat(leaves: Sequence[tuple[int, str, str]] = LEAVES, inner: Sequence[tuple[int, str, str]] = INNER) -> bytes:
    """A `meta.mat` as the published one: a column of structs `synsets`, leaves first, then inner ones."""
    from scipy.io import savemat

    fields = ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children")
    fields += ("wordnet_height", "num_train_images")
    synsets = np.zeros((len(leaves) + len(inner), 1), dtype=[(name, object) for name in fields])
    for row, (number, wnid, words) in enumerate([*leaves, *inner]):
        children = [] if row < len(leaves) else [1, 2]
        values = (number, wnid, words, f"what {words} is", len(children), children)
        values += (0 if row < len(leaves) else 3, len(train_files().get(wnid, ())))
        for name, value in zip(fields, values, strict=True):
            synsets[row, 0][name] = value if isinstance(value, str) else np.atleast_2d(np.array(value, float))
    file = io.BytesIO()
    savemat(file, {"synsets": synsets}, do_compression=True)
    return file.getvalue()


def devkit(file: Path, meta: bytes | None = None, truth: Sequence[int] = TRUTH) -> None:
    """The development kit: a compressed tar with meta.mat and the validation ground truth."""
    top = "ILSVRC2012_devkit_t12"
    contents = {
        f"{top}/readme.txt": b"Development kit\n",
        f"{top}/data/ILSVRC2012_validation_ground_truth.txt": "".join(f"{n}\n" for n in truth).encode(),
        f"{top}/data/meta.mat": meta_mat() if meta is None else meta,
    }
    with tarfile.open(file, "w:gz", format=tarfile.GNU_FORMAT) as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def ilsvrc2012(root: Path) -> Path:
    """A miniature of ILSVRC-2012 as published: a tar of tars, a tar, and the development kit."""
    root.mkdir(parents=True, exist_ok=True)
    train = {f"{wnid}.tar": tar_bytes(files.items()) for wnid, files in train_files().items()}
    (root / "ILSVRC2012_img_train.tar").write_bytes(tar_bytes(train.items()))
    (root / "ILSVRC2012_img_val.tar").write_bytes(tar_bytes(val_files().items()))
    devkit(root / "ILSVRC2012_devkit_t12.tar.gz")
    return root


def kaggle(root: Path) -> Path:
    """The images and labels of `ilsvrc2012` as Kaggle packs them, in the folder above `ILSVRC`."""
    images = root / "ILSVRC" / "Data" / "CLS-LOC"
    for wnid, files in train_files().items():
        (images / "train" / wnid).mkdir(parents=True)
        for name, data in files.items():
            (images / "train" / wnid / name).write_bytes(data)
    (images / "val").mkdir()
    wnid_of = {number: wnid for number, wnid, _ in LEAVES}
    rows = ["ImageId,PredictionString"]
    for (name, data), number in reversed(list(zip(val_files().items(), TRUTH, strict=True))):
        (images / "val" / name).write_bytes(data)
        rows.append(f"{name.removesuffix('.JPEG')},{wnid_of[number]} 1 2 30 20 {wnid_of[number]} 3 4 20 20 ")
    (root / "LOC_val_solution.csv").write_text("\n".join(rows) + "\n")
    names = sorted((wnid, words) for _, wnid, words in LEAVES)
    (root / "LOC_synset_mapping.txt").write_text("".join(f"{wnid} {words}\n" for wnid, words in names))
    return root


def annotated(root: Path) -> Path:
    """The images of `ilsvrc2012` in Tiny ImageNet's layout."""
    for wnid, files in train_files().items():
        (root / "train" / wnid / "images").mkdir(parents=True)
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text("".join(f"{name}\t0\t0\t9\t9\n" for name in files))
        for name, data in files.items():
            (root / "train" / wnid / "images" / name).write_bytes(data)
    wnid_of = {number: wnid for number, wnid, _ in LEAVES}
    lines = []
    for split in ("val", "test"):
        (root / split / "images").mkdir(parents=True)
    for (name, data), number in zip(val_files().items(), TRUTH, strict=True):
        (root / "val" / "images" / name).write_bytes(data)
        lines.append(f"{name}\t{wnid_of[number]}\t0\t32\t44\t62\n")
    (root / "test" / "images" / "test_0.JPEG").write_bytes(image(777))
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    (root / "wnids.txt").write_text("".join(f"{wnid}\n" for _, wnid, _ in LEAVES))
    (root / "words.txt").write_text("".join(f"{wnid}\t{words}\n" for _, wnid, words in LEAVES + INNER))
    return root


def parquet(
    file: Path,
    rows: Sequence[tuple[bytes | None, int]],
    names: Sequence[str] | None,
    row_group_size: int = 4,
    hub: bool = True,
) -> Path:
    """One Parquet file of (encoded image, label) rows, as the Hugging Face hub writes it.

    With `hub` false the schema says nothing of the classes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    structs = [{"bytes": data, "path": f"image_{row}.JPEG"} for row, (data, _) in enumerate(rows)]
    image_type = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    schema = pa.schema(
        [("image", image_type), ("label", pa.int64())],
        metadata={"huggingface": json.dumps({"info": {"features": features}})} if hub else None,
    )
    columns = [pa.array(structs, image_type), pa.array([label for _, label in rows], pa.int64())]
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns, schema=schema), file, row_group_size=row_group_size)
    return file


def hub(root: Path, names: Sequence[str] = ("a", "b", "c"), images: int = 12, shards: int = 2) -> Path:
    """A data set in the hub's layout: in `data`, train shards, a validation file, an unlabelled test file."""
    data = root / "data"
    for shard in range(shards):
        numbers = range(shard * images // shards, (shard + 1) * images // shards)
        rows = [(image(n), n % len(names)) for n in numbers]
        parquet(data / f"train-{shard:05}-of-{shards:05}.parquet", rows, names)
    held = [(image(5000 + n), n % len(names)) for n in range(len(names))]
    parquet(data / "validation-00000-of-00001.parquet", held, names)
    parquet(data / "test-00000-of-00001.parquet", [(image(6000 + n), -1) for n in range(2)], names)
    return root


def listed(root: Path) -> Path:
    """Images in one folder with a table of their labels."""
    root.mkdir(parents=True)
    rows = ["file,label"]
    for number in range(24):
        (root / f"{number}.jpg").write_bytes(image(number))
        rows.append(f"{number}.jpg,{('cat', 'ant')[number % 2]}")
    (root / "labels.csv").write_text("\n".join([*rows, ""]))
    return root


def webdataset(root: Path) -> Path:
    """Shards of WebDataset, whose samples follow each other as its writer orders them."""
    root.mkdir(parents=True)
    for number, split in enumerate(("train", "val")):
        samples = range(100 * number, 100 * number + 12)
        files = [(f"{n}.{e}", c) for n in samples for e, c in (("cls", b"%d" % (n % 3)), ("jpg", image(n)))]
        (root / f"set-{split}-000000.tar").write_bytes(tar_bytes(files))
    return root


def cifar(root: Path) -> Path:
    """CIFAR-10's binary files with a few images each."""
    root.mkdir(parents=True)
    random = np.random.default_rng(0)
    for batch in (*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"):
        images = random.integers(0, 256, (4, 3073), dtype=np.uint8)
        images[:, 0] %= 3
        (root / batch).write_bytes(images.tobytes())
    (root / "batches.meta.txt").write_text("ant\nbee\ncat\n")
    return root
