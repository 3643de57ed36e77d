"""The result of a comparison in short: mean and spread over pairs, and tables for a terminal."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from alexnet.study.scores import percent
from alexnet.study.similarity import MEASURES
from alexnet.study.tables import heading, table
from alexnet.training.metrics import with_interval

GROUPS = {"across": "across the sides", "within a": "within side A", "within b": "within side B"}
"""Groups of pairs, in words, where there are two sides."""


COLUMNS = {"cka": "CKA", "rsa_correlation": "RSA, correlation", "rsa_cosine": "RSA, cosine"}
"""Headings for the measures that leave room on a terminal."""


def groups(runs: Sequence[dict[str, Any]], pairs: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The pairs by group: `across`, and where there are two sides `within a` and `within b`."""
    found: dict[str, list[dict[str, Any]]] = {}
    for pair in pairs:
        kind = pair["kind"]
        found.setdefault(kind if kind == "across" else f"within {runs[pair['a']]['side']}", []).append(pair)
    return found


def summary(runs: Sequence[dict[str, Any]], pairs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """For each group of pairs the number of `pairs`, the `layers` that all runs share, and for each measure their
    `mean` and `sd` (None for a single pair) over the pairs, layer by layer."""
    layers = [name for name in runs[0]["layers"] if all(name in run["layers"] for run in runs)]
    found: dict[str, Any] = {}
    for group, members in groups(runs, pairs).items():
        found[group] = {"pairs": len(members), "layers": layers}
        for measure in MEASURES:
            values = np.array([[same_layer(runs, pair, measure, name) for name in layers] for pair in members], float)
            spread = values.std(0, ddof=1) if len(members) > 1 else [None] * len(layers)
            found[group][measure] = {"mean": numbers(values.mean(0)), "sd": numbers(spread)}
    return found


def same_layer(runs: Sequence[dict[str, Any]], pair: dict[str, Any], measure: str, layer: str) -> float:
    """The similarity of the layers of one name; NaN where it is not known."""
    a, b = (runs[pair[side]]["layers"].index(layer) for side in ("a", "b"))
    value = pair[measure][a][b]
    return float("nan") if value is None else value


def numbers(values: Any) -> list[float | None]:
    """Numbers as JSON values, None where there is none."""
    return [None if value is None or np.isnan(value) else round(float(value), 6) for value in values]


def render(result: dict[str, Any]) -> RenderableType:
    """Tables for a terminal: runs, pairs, and layers."""
    views = "ten views" if result["views"] == 10 else "centre view"
    parts = [heading(f"{result['images']} images of '{result['split']}', {views}; in brackets the 95 % interval")]
    parts += [run_table(result), *pair_tables(result)]
    compared = f"{result['compared_images']} images: how alike layers see them (1: the same, 0: nothing in common)"
    parts += [heading(compared), *layer_tables(result)]
    parts += [Text(f"{name}: {path}") for name, path in result["files"].items()]
    return Group(*parts)


def run_table(result: dict[str, Any]) -> RenderableType:
    """The errors of each run."""
    runs = table("", "run", "step", "top-1 error", "top-5 error", texts=2)
    for number, run in enumerate(result["runs"]):
        step = Path(run["checkpoint"]).name.removeprefix("step-").lstrip("0") or "0"
        known = run["top1_error"] is not None
        errors = [with_interval(run[f"top{k}_error"], result["images"]) if known else "-" for k in (1, 5)]
        runs.add_row(label(result["runs"], number), Text(run["run"]), step, *errors)
    return runs


def label(runs: Sequence[dict[str, Any]], number: int) -> str:
    """A short name of a run: A, B, C; with two sides A1, A2, B1."""
    sides = [run["side"] for run in runs]
    if "b" not in sides:
        return chr(ord("A") + number) if len(runs) <= 26 else f"A{number + 1}"
    return f"{sides[number].upper()}{sides[: number + 1].count(sides[number])}"


def pair_tables(result: dict[str, Any]) -> list[RenderableType]:
    """Agreement and differences of the errors of each pair of two runs."""
    pairs = table("pair", "same label", "top-1 error, 2nd minus 1st", "top-5 error, 2nd minus 1st")
    for pair in result["pairs"]:
        if pair["a"] != pair["b"] and ("agreement" in pair or "top1_difference" in pair):
            names = " and ".join(label(result["runs"], pair[side]) for side in ("a", "b"))
            same = with_interval(pair["agreement"], result["images"]) if "agreement" in pair else "-"
            pairs.add_row(names, same, *(signed(pair, k) for k in (1, 5)))
    return [pairs] if pairs.row_count else []


def signed(pair: dict[str, Any], k: int) -> str:
    """A difference of errors with its interval: "+2.1 % (-0.4 to +4.6)"."""
    if f"top{k}_difference" not in pair:
        return "-"
    value, (low, high) = pair[f"top{k}_difference"], pair[f"top{k}_difference_interval"]
    sign = "+" if value > 0 else ""
    return f"{sign}{percent(value)} ({100 * low:+.1f} to {100 * high:+.1f})"


def layer_tables(result: dict[str, Any]) -> list[RenderableType]:
    """For each group the measures of each layer, with the standard deviation over pairs; of a run with itself, each
    layer's similarity to the next."""
    if result["pairs"][0]["a"] == result["pairs"][0]["b"]:
        return [neighbours_table(result)]
    parts: list[RenderableType] = []
    for group, found in result["summary"].items():
        if found["pairs"] > 1 or len(result["summary"]) > 1:
            where = f"{GROUPS[group]}, " if len(result["summary"]) > 1 else ""
            parts.append(Text(f"{where}{found['pairs']} {'pair' if found['pairs'] == 1 else 'pairs'}"))
        rows = table("layer", *COLUMNS.values())
        for index, name in enumerate(found["layers"]):
            rows.add_row(name, *(spread(found[m]["mean"][index], found[m]["sd"][index]) for m in MEASURES))
        parts.append(rows)
    return parts


def neighbours_table(result: dict[str, Any]) -> RenderableType:
    """Each layer and the next one of the same network."""
    (pair,), layers = result["pairs"], result["runs"][0]["layers"]
    rows = table("layers", *COLUMNS.values())
    for i in range(len(layers) - 1):
        rows.add_row(f"{layers[i]}, {layers[i + 1]}", *(spread(pair[m][i][i + 1], None) for m in MEASURES))
    return rows


def spread(mean: float | None, sd: float | None) -> str:
    """ "0.812", or with the standard deviation over pairs "0.812 ± 0.013"; "-" where a layer is the same for all."""
    if mean is None:
        return "-"
    return f"{mean:.3f}" if sd is None else f"{mean:.3f} \u00b1 {sd:.3f}"
