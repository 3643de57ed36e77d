"""Text files of labels and names: Tiny ImageNet's annotations, and the table and the mapping of Kaggle's ImageNet."""

from pathlib import Path

from alexnet.data.sources import open_source
from alexnet.files.printable import printable
from campaigns.fuzz.format import Format

WNIDS = ("n01440764", "n02102040")
ANNOTATIONS = "".join(f"val_{n}.JPEG\t{WNIDS[n % 2]}\t0\t32\t44\t62\n" for n in range(6))
TABLE = "ImageId,PredictionString\n" + "".join(f"val_{n},{WNIDS[n % 2]} 1 2 30 20 \n" for n in range(6))
MAPPING = "".join(f"{wnid} tench, Tinca tinca\n" for wnid in WNIDS)
KINDS = {"A": "val/val_annotations.txt", "T": "LOC_val_solution.csv", "C": "LOC_synset_mapping.txt"}
"""By the first byte of an input: which file the rest of it becomes."""


def examples() -> list[bytes]:
    found = [kind + text.encode() for kind, text in ((b"A", ANNOTATIONS), (b"T", TABLE), (b"C", MAPPING))]
    found += [b"A" + ANNOTATIONS.replace("\n", "\r\n").encode("utf-16"), b"T" + TABLE.encode("utf-8-sig")]
    return found


def read(data: bytes, folder: Path) -> None:
    kind = "TCA"[data[0] % 3] if data else "A"
    annotated, kaggle = folder / "annotated", folder / "CLS-LOC"
    for wnid in WNIDS:
        for root in (annotated, kaggle):
            (root / "train" / wnid).mkdir(parents=True, exist_ok=True)
            (root / "train" / wnid / "x.JPEG").touch()
    (annotated / "val" / "images").mkdir(parents=True, exist_ok=True)
    (kaggle / "val").mkdir(exist_ok=True)
    (kaggle / KINDS["T"]).write_text(TABLE)
    (kaggle / KINDS["C"]).write_text(MAPPING)
    root = annotated if kind == "A" else kaggle
    (root / KINDS[kind]).write_bytes(data[1:])
    source = open_source(root)
    for image in source.splits["val"]:
        assert printable(image.key) == image.key and source.classes[image.label].wnid in WNIDS


FORMAT = Format("labels", 4, examples, read)
