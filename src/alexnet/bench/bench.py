"""`alexnet bench`: the measurements, and how they are shown."""

from pathlib import Path
from typing import Any, Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from alexnet.bench import files, kernels, network
from alexnet.files.words import counted
from alexnet.native.processor import cores_of_others, use
from alexnet.ranges import UsageError

What = Literal["train", "infer", "load", "prepare", "kernels"]
BATCH = {"train": 128, "infer": 64, "kernels": 64}
DISTURBED = 0.1
"""Cores that others may use before the numbers are said to be disturbed."""
GEMM = "convolutions and matrix multiplications alone, PyTorch"


def bench(
    what: What = "train",
    *,
    network_name: str = "paper",
    input_size: int | None = None,
    width: float | None = None,
    batch_size: int | None = None,
    dtype: str = "auto",
    rounds: int = 5,
    store: Path | None = None,
    source: Path | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Measure a command, or the kernels, and this machine's limit, alternating in the same run.

    `what` is train, infer, load, prepare or kernels. `input_size` and `width` change the network's for train and infer;
    `input_size` is also that of the crops of load. Without `store` (for load) and `source` (for prepare), synthetic
    images are drawn; with a `store`, train also measures steps fed from it.

    Returns `what`, `images_per_second` (the median; `slowest` and `fastest` of the `rounds`),
    `limit_images_per_second` (`limit` says what it is), `fraction_of_limit`, `peak_memory_bytes`, `dtype`, `batch`,
    `machine`, and more by `what`. `cores_of_others` says how many cores other processes kept busy meanwhile, on Linux.
    Raises ValueError when something cannot be measured.
    """
    check_options(
        what,
        {
            "--store": (store, ("train", "load")),
            "--source": (source, ("prepare",)),
            "--input-size": (input_size, ("train", "infer", "load")),
            "--width": (width, ("train", "infer")),
        },
    )
    before = use()
    batch = batch_size or BATCH.get(what, 0)
    if what == "train":
        result = network.train(network_name, batch, dtype, rounds, device, store, input_size, width)
    elif what == "infer":
        result = network.infer(network_name, batch, dtype, rounds, device, input_size, width)
    elif what == "load":
        result = files.load(store, batch_size, rounds, input_size)
    elif what == "prepare":
        result = files.prepare(source, rounds)
    else:
        result = kernels.kernels_alone(batch, dtype, rounds)
    after = use()
    return result | ({"cores_of_others": cores_of_others(before, after)} if before and after else {})


def check_options(what: What, options: dict[str, tuple[Any, tuple[str, ...]]]) -> None:
    """UsageError for an option that has no effect on what is measured; `options` are their values, and what uses
    them."""
    for option, (value, used) in options.items():
        if value is not None and what not in used:
            raise UsageError(f"{option} is for alexnet bench {', '.join(used)}, not for {what}; leave it out.")


def render(result: dict[str, Any]) -> RenderableType:
    """Tables for a terminal."""
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    for name, value in _rows(result):
        table.add_row(Text(name), Text(value))
    parts: list[RenderableType] = [Text(_title(result), style="bold"), table]
    if "kernels" in result:
        parts.append(_kernel_table(result["kernels"]))
    machine = result["machine"]
    parts.append(Text(f"Limit: {result['limit']}.", style="dim"))
    where = machine["processor"] if machine["device"] == "cpu" else machine["device"]
    parts.append(Text(f"{where}, {counted(machine['threads'], 'thread')}, PyTorch {machine['torch']}.", style="dim"))
    used = machine["instruction_sets"]
    sets = f"Kernels: {used['kernels']}. Images: {used['images']}. PyTorch: {used['pytorch']}."
    parts.append(Text(f"Instruction sets: {sets}", style="dim"))
    others = result.get("cores_of_others", 0.0)
    if others > DISTURBED:
        parts.append(Text(f"Disturbed: other processes kept {others:.1f} of {machine['cores']} cores busy meanwhile."))
    return Group(*parts)


def _rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """What was measured, and its value."""
    rate = f"{result['images_per_second']:,.1f}"
    spread = f"  ({result['slowest']:,.1f} to {result['fastest']:,.1f})" if "slowest" in result else ""
    rows = [
        ("images per second", rate + spread),
        ("limit of this machine", f"{result['limit_images_per_second']:,.1f}"),
        ("fraction of the limit", f"{result['fraction_of_limit']:.0%}"),
        ("peak memory", f"{result['peak_memory_bytes'] / 1e9:.2f} GB"),
    ]
    if "gemm_images_per_second" in result:
        rows.append((GEMM, f"{result['gemm_images_per_second']:,.1f} images/s"))
    if "gigaflops_per_second" in result:
        rows.append(("3x3 convolution", f"{result['gigaflops_per_second']:,.0f} GFLOP/s"))
    if "copied_gigabytes_per_second" in result:
        rows.append(("copy", f"{result['copied_gigabytes_per_second']:,.1f} GB/s"))
    if "one_view_milliseconds" in result:
        one, ten = result["one_view_milliseconds"], result["ten_views_milliseconds"]
        rows.append(("one image, one view", f"{one:.1f} ms"))
        rows.append(("one image, ten views", f"{ten:.1f} ms, {ten / one:.1f} times one"))
    if "fed_fraction" in result:
        rows.append(("fed from the store", f"{result['fed_images_per_second']:,.1f} images/s"))
        rows.append(("fraction of the rate on one repeated batch", f"{result['fed_fraction']:.1%}"))
    if "days_for_90_epochs_of_imagenet" in result:
        days = result["days_for_90_epochs_of_imagenet"]
        rows += [("90 epochs of ImageNet", f"{days:,.1f} days"), ("the same in 2012", network.DAYS_THEN)]
    return rows


def _title(result: dict[str, Any]) -> str:
    names = {
        "train": "Training step",
        "infer": "Inference",
        "load": "Loading batches",
        "prepare": "Preparing images",
        "kernels": "Layers with kernels of this package",
    }
    about = result.get("network") or result.get("source")
    if "input_size" in result:
        about = f"{about}, {result['input_size']} pixels"
    if result.get("width", 1) != 1:
        about = f"{about}, width {result['width']:g}"
    form = "" if result["dtype"] == "uint8" else f", {result['dtype']}"
    batch = f", batch {result['batch']}" if result["what"] != "prepare" else f", {counted(result['batch'], 'image')}"
    rounds = counted(result["rounds"], "round")
    return f"{names[result['what']]}{f' ({about})' if about else ''}{form}{batch}, median of {rounds}"


def _kernel_table(lines: list[dict[str, Any]]) -> Table:
    table = Table("kernel", "ms", "limit, ms", "fraction of limit", "PyTorch, ms")
    for column in table.columns[1:]:
        column.justify = "right"
    for line in lines:
        plain = f"{line['plain_milliseconds']:.1f}" if line["plain_milliseconds"] else ""
        table.add_row(
            line["name"],
            f"{line['milliseconds']:.1f}",
            f"{line['limit_milliseconds']:.1f}",
            f"{line['fraction_of_limit']:.0%}",
            plain,
        )
    return table
