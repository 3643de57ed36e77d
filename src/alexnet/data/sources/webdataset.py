"""WebDataset: tar files (shards) in which the files of one sample follow each other and share their name up to the dot.

    train-000000.tar:   000017.jpg  000017.cls  000018.jpg  000018.cls ...

The label is in `.cls` (a number or a name), else in the `.json` object, else in `.txt`. `classnames.txt` beside the
shards names the numbers. Shards lie in the folder, or in `train`, `val` and `test`; else their names say of which split
they are. SOURCE may also be one shard, or a pattern such as `train-{000000..000146}.tar`. Nothing is unpacked.
"""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from alexnet.data.sources.names import some
from alexnet.data.sources.records import ROLES, Record, one_line, open_records
from alexnet.data.sources.source import Choices, Source, SourceKind, contents_of
from alexnet.data.sources.table import LABEL_COLUMNS
from alexnet.data.sources.tar import TarAt, members
from alexnet.data.sources.walk import subfolders
from alexnet.files.json_file import parse_json
from alexnet.files.printable import printable
from alexnet.files.read_at import ReadAt
from alexnet.files.text import decode_text, read_text
from alexnet.ranges import UsageError

IMAGES = ("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif", "ppm", "img")
LABELS = ("cls", "json", "txt")
"""Endings of files of a sample; the first of the labels counts."""
LARGEST_LABEL, MOST_FILES, MOST_SHARDS = 1 << 16, 100, 1 << 16
"""Bytes of a file with a label, files of a sample, and shards of a source."""
CLASS_NAMES = "classnames.txt"


class Shard(NamedTuple):
    """A shard and its split, where its name or folder tells."""

    file: Path
    split: str | None


class File(NamedTuple):
    """A file of a sample: where its bytes are in the shard."""

    ending: str
    offset: int
    size: int


def detect(path: Path) -> list[Shard] | None:
    """The shards at a path; None where there are none, or where class folders lie beside an archive."""
    if path.is_file():
        return [Shard(path, None)] if path.suffix == ".tar" else None
    if not path.is_dir():
        return None
    inside = subfolders(path)
    if shards := _tars(path):
        return [Shard(file, _role(file.name)) for file in shards] if len(inside) < 2 else None
    found = [
        Shard(file, split)
        for name, folder in inside.items()
        if (split := ROLES.get(name.casefold())) and len(subfolders(folder)) < 2
        for file in _tars(folder)
    ]
    return found if any(shard.split == "train" for shard in found) else None


def expanded(pattern: Path) -> list[Shard] | None:
    """The shards of a pattern with braces, `{000..146}` or `{a,b}`; None for a path without any.

    Raises ValueError where one of them is missing, or there are more than `MOST_SHARDS`.
    """
    parts = re.split(r"\{([^{}]*)\}", str(pattern))
    if len(parts) == 1:
        return None
    choices: list[list[str]] = [[part] if index % 2 == 0 else _choices(part) for index, part in enumerate(parts)]
    names = ["".join(each) for each in itertools.islice(itertools.product(*choices), MOST_SHARDS + 1)]
    if len(names) > MOST_SHARDS:
        raise ValueError(f"{pattern} stands for more than {MOST_SHARDS:,} files")
    if missing := [name for name in names if not Path(name).is_file()]:
        raise ValueError(f"{pattern}: {len(missing):,} of its {len(names):,} files are missing: {some(missing)}")
    return [Shard(Path(name), _role(Path(name).name)) for name in names]


def open_shards(path: Path, shards: list[Shard], choices: Choices) -> Source:
    """The samples of the shards. Where these name no split, `val_fraction` of every class (0.1) is held out."""
    if choices.image_column:
        raise UsageError(f"{path} has no columns of images: leave out --image-column")
    if len(shards) > MOST_SHARDS:
        raise ValueError(f"{path} has more than {MOST_SHARDS:,} shards")
    told = [shard for shard in shards if shard.split]
    if told and len(told) < len(shards):
        other = next(shard for shard in shards if not shard.split)
        raise ValueError(
            f"{told[0].file.name} says by its name that it is of the {told[0].split} split, and {other.file.name} says "
            "none: put each split into a folder of its own, train, val or test"
        )
    names = _class_names(shards[0].file)

    def records() -> Iterator[Record]:
        for shard in shards:
            yield from _samples(shard, choices.label_column, names)

    files = [shard.file for shard in shards]
    return open_records(
        KIND.name, path, records, choices, classes=names, find_contents=lambda count: contents_of(files, count)
    )


KIND = SourceKind(
    "webdataset",
    "WebDataset's tar shards (.jpg or .png with .cls, .json or .txt), in a folder or as train-{000..146}.tar",
    detect=detect,
    open=open_shards,
    has_columns=True,
)


def _samples(shard: Shard, label_key: str | None, names: tuple[str, ...]) -> Iterator[Record]:
    file = shard.file
    content = ReadAt(file)
    for base, files in _by_base(file):
        by_ending = {each.ending: each for each in files}
        image = next((by_ending[ending] for ending in IMAGES if ending in by_ending), None)
        label = next((by_ending[ending] for ending in LABELS if ending in by_ending), None)
        where = f"{file}: sample {printable(base)}"
        if image is None or label is None:
            missing = f"image ({', '.join(IMAGES[:4])} ...)" if image is None else f"label ({', '.join(LABELS)})"
            raise ValueError(f"{where} has no {missing}; it has {some(map(printable, by_ending))}")
        if label.size > LARGEST_LABEL:
            raise ValueError(f"{where} has a label of more than {LARGEST_LABEL >> 10} KiB")
        try:
            text = _label(content.read(label.offset, label.size), label.ending, label_key)
        except EOFError:
            raise ValueError(f"{file} is cut off: download it again") from None
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        if names:
            text = _named(text, names, where)
        key = f"{_in_keys(file)}/{printable(base)}"
        yield Record(key, text, TarAt(str(file), image.offset, image.size), shard.split)


def _in_keys(file: Path) -> str:
    """The name of a shard in keys: with its folder where that is of a split, in which names may repeat."""
    folder = file.parent.name
    return printable(f"{folder}/{file.name}" if folder.casefold() in ROLES else file.name)


def _by_base(file: Path) -> Iterator[tuple[str, list[File]]]:
    """The files of each sample, by the name that they share."""
    base, files = None, list[File]()
    for name, offset, size in members(file):
        folder, slash, last = name.rpartition("/")
        stem, _, ending = last.partition(".")
        if folder + slash + stem != base:
            if base is not None:
                yield base, files
            base, files = folder + slash + stem, []
        files.append(File(ending.lower(), offset, size))
        if len(files) > MOST_FILES:
            raise ValueError(f"{file}: sample {printable(folder + slash + stem)} has more than {MOST_FILES} files")
    if base is not None:
        yield base, files


def _label(data: bytes, ending: str, key: str | None) -> str:
    """The label in a file of a sample. Raises ValueError with the reason where there is none."""
    try:
        text = decode_text(data)
    except UnicodeDecodeError:
        raise ValueError(f"its .{ending} is no text") from None
    if ending == "json":
        fields = parse_json(text)
        if not isinstance(fields, dict):
            raise ValueError("its .json is no object")
        wanted = [key] if key else [name for name in (*LABEL_COLUMNS, "cls") if name in fields]
        value = fields.get(wanted[0]) if wanted else None
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise ValueError(f"its .json has no label (it has {some(map(printable, fields))}): choose --label-column")
        text = str(value)
    if not (label := one_line(text)):
        raise ValueError(f"its .{ending} is empty")
    return label


def _named(text: str, names: tuple[str, ...], where: str) -> str:
    """The name of a class by its number; a name stays."""
    if text in names:
        return text
    if not (text.isascii() and text.isdecimal()) or len(text) > 9 or int(text) >= len(names):
        raise ValueError(f"{where}: label {text!r:.80} is not one of the {len(names)} classes of {CLASS_NAMES}")
    return names[int(text)]


def _class_names(shard: Path) -> tuple[str, ...]:
    """The names in `classnames.txt` beside a shard, or in the folder above; none without that file."""
    file = next(
        (each for each in (shard.parent / CLASS_NAMES, shard.parent.parent / CLASS_NAMES) if each.is_file()), None
    )
    names = tuple(one_line(line) for line in read_text(file).split("\n") if line.strip()) if file else ()
    if len(set(names)) < len(names):
        raise ValueError(f"{file} names a class twice")
    return names


def _tars(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*.tar") if not file.name.startswith(".") and file.is_file())


def _role(name: str) -> str | None:
    """The split that a word of a shard's name stands for."""
    found = {ROLES[word] for word in re.split(r"[\W_]+", name.casefold()) if word in ROLES}
    return found.pop() if len(found) == 1 else None


def _choices(inside: str) -> list[str]:
    """What a pair of braces stands for: the numbers of `000..146`, with as many digits, or the words of `a,b`."""
    if match := re.fullmatch(r"(\d{1,9})\.\.(\d{1,9})", inside):
        first, last = int(match[1]), int(match[2])
        digits = len(match[1]) if match[1].startswith("0") or len(match[1]) == len(match[2]) else 0
        return [f"{number:0{digits}}" for number in range(first, min(last, first + MOST_SHARDS) + 1)]
    return inside.split(",")
