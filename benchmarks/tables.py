"""Write the tables of the documentation from the results.

    python -m benchmarks.tables

Replaces every table that stands below `<!-- python -m benchmarks.tables: NAME -->` in README.md and docs/*.md. `TABLES`
has their names. The numbers are those of `results.LATEST`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.network.training_step import LIMIT
from benchmarks.results import load_results
from benchmarks.separate_process import ROOT

Sections = Mapping[str, Mapping[str, Any]]
Rows = list[list[str]]
"""A table, its heading first."""
MARK = r"(<!-- python -m benchmarks\.tables: ([\w ,-]+) -->\n\n?)(?:\|.*\n)*"


@dataclass(frozen=True)
class Comparison:
    """Medians of one section: a column per contender, a row per title of the results."""

    section: str
    columns: Mapping[str, str]
    """Heading and contender."""
    rows: Mapping[str, str]
    """First cell and title of the results."""
    heading: str = ""
    digits: int = 0

    def __call__(self, sections: Sections) -> Rows:
        results = sections[self.section]["results"]
        return [
            [self.heading, *self.columns],
            *(
                [first, *(self.cell(results[title], contender) for contender in self.columns.values())]
                for first, title in self.rows.items()
            ),
        ]

    def cell(self, rates: Mapping[str, Mapping[str, float]], contender: str) -> str:
        return f"{rates[contender]['median']:,.{self.digits}f}" if contender in rates else "-"


@dataclass(frozen=True)
class Sizes:
    """Medians of one contender by size: a column per size, a row for each section and title."""

    heading: str
    prefix: str
    suffix: str
    rows: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def __call__(self, sections: Sections) -> Rows:
        found = {first: sections[section]["results"][title] for first, (section, title) in self.rows.items()}
        sizes = [int(name.removeprefix(self.prefix).removesuffix(self.suffix)) for name in next(iter(found.values()))]
        return [
            [self.heading, *(f"{size:,}" for size in sizes)],
            *([first, *(f"{rate['median']:,.0f}" for rate in rates.values())] for first, rates in found.items()),
        ]


def communication(sections: Sections) -> Rows:
    names = {"none": "one process", "towers": "`towers`", "data": "`data`", "both": "`both`"}
    measured = sections["communication"]["results"]["measured"]
    rows = [
        [
            name,
            f"{measured[way]['ranks']} x {measured[way]['threads']}",
            f"{measured[way]['images_per_second']:.1f}",
            *(f"{measured[way][key] / 1e6:.2f} MB" for key in ("sent_bytes", "computed_bytes")),
        ]
        for way, name in names.items()
    ]
    sent = "sent per rank and step, measured"
    return [["", "ranks x threads", "images per second", sent, "computed from the shapes"], *rows]


def predicted(per_gpu: bool) -> Callable[[Sections], Rows]:
    """Milliseconds of a step, with one batch in all or one for each GPU."""

    def rows(sections: Sections) -> Rows:
        found = sections["communication"]["results"]["predicted"]
        found = found[len(found) // 2 :] if per_gpu else found[: len(found) // 2]
        ways = ("data", "towers", "both")
        return [
            ["GPUs", *(f"`{way}`" for way in ways)],
            *(
                [
                    str(row["gpus"]),
                    *("-" if ms is None else f"{ms:.2f}" for ms in map(row["step_milliseconds"].get, ways)),
                ]
                for row in found
                if any(row["step_milliseconds"].values())
            ),
        ]

    return rows


DTYPES = {name: f"{name}, batch 128" for name in ("float32", "bfloat16")}
BATCHES = {
    f"{dtype}, {words}": f"{dtype}, batch {batch}"
    for words, batch in (("batches of 64", 64), ("one image at a time", 1))
    for dtype in ("float32", "bfloat16")
}
ALONE = "libjpeg-turbo alone"
TRAINING = Comparison(
    "training step",
    {
        "this program": "alexnet (paper)",
        "PyTorch compiled": "PyTorch torch.compile",
        "PyTorch, memory kept": "PyTorch eager, malloc keeps memory",
        "PyTorch": "PyTorch eager",
        "TensorFlow": "TensorFlow",
        "JAX": "JAX",
        "limit": LIMIT,
    },
    DTYPES,
    digits=1,
)
INFERENCE = Comparison(
    "inference",
    {
        "this program": "alexnet",
        "OpenVINO": "OpenVINO",
        "TensorFlow": "TensorFlow",
        "PyTorch compiled": "PyTorch torch.compile",
        "PyTorch, memory kept": "PyTorch eager, malloc keeps memory",
        "PyTorch": "PyTorch eager",
        "ONNX Runtime": "ONNX Runtime",
        "JAX": "JAX",
        "limit": LIMIT,
    },
    BATCHES,
    digits=1,
)
LOADING = Comparison(
    "loading",
    {
        "this program": "alexnet",
        "tf.data": "tf.data",
        "FFCV": "FFCV",
        "torchvision and DataLoader": "PyTorch DataLoader, torchvision",
        "WebDataset": "WebDataset",
        ALONE: ALONE,
    },
    {"batches from a store": "4096 images"},
)
PREPARING = Comparison(
    "preparing",
    {
        "this program": "alexnet",
        "OpenCV script": "OpenCV script",
        "Pillow script": "Pillow script",
        "img2dataset": "img2dataset",
        ALONE: ALONE,
    },
    {"large JPEG files": "1000 images"},
)


def brief(table: Comparison, heading: str, *left_out: str) -> Comparison:
    """The same without decimals and without the columns `left_out`."""
    columns = {name: contender for name, contender in table.columns.items() if name not in left_out}
    return replace(table, columns=columns, heading=heading, digits=0)


TABLES: dict[str, Callable[[Sections], Rows]] = {
    "training": TRAINING,
    "training, brief": brief(
        TRAINING, "training (`python -m benchmarks.network.training_step`)", "PyTorch, memory kept", "limit"
    ),
    "training without groups": Comparison(
        "training step",
        {name: f"{name}, without groups" for name in ("TensorFlow", "JAX")},
        DTYPES,
        heading="without groups",
        digits=1,
    ),
    "inference": INFERENCE,
    "inference, brief": brief(
        INFERENCE,
        "inference (`python -m benchmarks.network.inference`)",
        "PyTorch, memory kept",
        "PyTorch",
        "JAX",
        "limit",
    ),
    "loading": LOADING,
    "loading, brief": brief(LOADING, "loading (`python -m benchmarks.loading.throughput stores/imagenette`)", ALONE),
    "preparing": PREPARING,
    "preparing, brief": brief(PREPARING, "preparing (`python -m benchmarks.preparing.throughput photographs`)", ALONE),
    "batch sizes": Sizes(
        "batch",
        "batch ",
        "",
        {
            "bfloat16 (seven rounds)": ("batch sizes, seven rounds", "training step, bfloat16"),
            "float32 (three rounds)": ("batch sizes, float32", "training step, float32"),
        },
    ),
    "store sizes": Sizes("rows", "", " rows", {"images loaded per second": ("store sizes", "loading")}),
    "communication": communication,
    "predicted, one batch": predicted(per_gpu=False),
    "predicted, one batch per GPU": predicted(per_gpu=True),
}


def markdown(rows: Rows) -> str:
    lines = ["| " + " | ".join(row) + " |\n" for row in rows]
    return lines[0].replace("|  |", "| |") + "|---" * len(rows[0]) + "|\n" + "".join(lines[1:])


def updated(page: str, sections: Sections) -> str:
    """The page with every marked table written anew. Raises KeyError for a table that does not exist."""
    return re.sub(MARK, lambda match: match[1] + markdown(TABLES[match[2]](sections)), page)


def main() -> None:
    sections = load_results()
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        before = path.read_text(encoding="utf-8")
        after = updated(before, sections)
        if after != before:
            path.write_text(after, encoding="utf-8")
            print(f"{path.relative_to(ROOT)} has new numbers")


if __name__ == "__main__":
    main()
