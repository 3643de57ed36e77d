"""Which columns of a Parquet file hold the images and the labels, and how the labels are named."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet.data.sources.parquet_file import open_file
from alexnet.files.json_file import parse_json
from alexnet.files.printable import printable
from alexnet.ranges import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

MOST_CLASSES, LONGEST_NAME = 1 << 17, 1000
"""Of a description of labels; a name in characters."""


@dataclass(frozen=True)
class Columns:
    """The columns of a file."""

    image: str
    """The column of the encoded bytes ("image.bytes")."""
    name: str | None
    """The column of the file names ("image.path")."""
    label: str
    names: tuple[str, ...] | None
    """The names of the labels 0, 1, ..., where the schema has them."""


def find_columns(path: Path, image: str | None = None, label: str | None = None) -> Columns:
    """The columns `image` and `label` of a file, or those that the user names.

    Without either, the hub's description in the schema names them. Raises ValueError, naming the file, where they are
    missing, several, or of a type that holds no images or labels.
    """
    with open_file(path) as file:
        schema = file.schema_arrow
    kinds, features = _described(path, schema)
    image = _choose(path, schema.names, "image", image, [name for name, kind in kinds.items() if kind == "Image"])
    label = _choose(path, schema.names, "label", label, [name for name, kind in kinds.items() if kind == "ClassLabel"])
    names = _names(path, features[label].get("names")) if kinds.get(label) == "ClassLabel" else None
    _check_label(path, label, schema.field(label).type, names is not None)
    column, file_name = _image_fields(path, image, schema.field(image).type)
    return Columns(column, file_name, label, names)


def _described(path: Path, schema: "pa.Schema") -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The kinds of the columns that the hub describes, and their whole descriptions."""
    try:
        described: Any = parse_json((schema.metadata or {}).get(b"huggingface", b"{}"))
        for key in ("info", "features"):
            described = described.get(key, {})
        features = {name: each for name, each in described.items() if isinstance(each, dict) and name in schema.names}
    except AttributeError:
        raise ValueError(f"{path} has a description that is not the hub's (no object): download it again") from None
    except ValueError as error:
        raise ValueError(f"{path} has a description that cannot be read ({error}): download it again") from None
    return {name: each.get("_type") for name, each in features.items()}, features


def _choose(path: Path, there: list[str], usual: str, wanted: str | None, described: Sequence[str]) -> str:
    """The column that is `wanted`; else the one called as `usual`, else the only one of that kind."""
    option = f"choose one with --{usual}-column"
    listed = ", ".join(map(printable, there))
    chosen = wanted or (usual if usual in there or not described else described[0])
    if chosen not in there:
        way_out = f" (it has {listed})" + ("" if wanted else f": no labelled images; or {option}")
        raise (UsageError if wanted else ValueError)(f"{path} has no column {chosen!r}{way_out}")
    if wanted is None and chosen != usual and len(described) > 1:
        raise ValueError(f"{path} has several columns of {usual}s, {', '.join(map(printable, described))}: {option}")
    if there.count(chosen) > 1:
        raise ValueError(f"{path} has two columns {printable(chosen)!r}: {option}, or rename one")
    if "." in chosen:
        raise ValueError(f"{path}: a column with a dot in its name cannot be read ({printable(chosen)}): rename it")
    return chosen


def _names(path: Path, names: Any) -> tuple[str, ...] | None:
    """The names of the labels, checked; None where there are none."""
    if names is None:
        return None
    is_list = isinstance(names, list) and all(isinstance(each, str) and len(each) <= LONGEST_NAME for each in names)
    if not is_list or len(names) > MOST_CLASSES:
        raise ValueError(f"{path} describes its labels by something other than a list of names: download it again")
    return tuple(names)


def _check_label(path: Path, label: str, kind: "pa.DataType", is_named: bool) -> None:
    """ValueError unless a column may hold labels: numbers where they have names, else numbers or words."""
    import pyarrow as pa

    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    is_words = pa.types.is_string(plain) or pa.types.is_large_string(plain)
    if not (pa.types.is_integer(plain) or pa.types.is_boolean(plain) or (is_words and not is_named)):
        problem = "but its description names numbers" if is_words else "neither numbers nor words"
        raise ValueError(
            f"{path}: column {printable(label)!r}: the labels are of type {kind}, {problem}: choose another "
            "column with --label-column"
        )


def _image_fields(path: Path, image: str, kind: "pa.DataType") -> tuple[str, str | None]:
    """The columns of the encoded bytes and of the file names."""
    import pyarrow as pa

    def is_binary(kind: "pa.DataType") -> bool:
        return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)

    if is_binary(kind.value_type if pa.types.is_dictionary(kind) else kind):
        return image, None
    if not pa.types.is_struct(kind):
        raise ValueError(
            f"{path}: column {printable(image)!r} is of type {kind}, not encoded images: choose another with "
            "--image-column"
        )
    fields = {kind.field(index).name: kind.field(index).type for index in range(kind.num_fields)}
    if "bytes" not in fields or not is_binary(fields["bytes"]):
        raise ValueError(f"{path}: the column {image!r} has no field 'bytes': the images are not in the file")
    has_names = "path" in fields and (pa.types.is_string(fields["path"]) or pa.types.is_large_string(fields["path"]))
    return f"{image}.bytes", f"{image}.path" if has_names else None
