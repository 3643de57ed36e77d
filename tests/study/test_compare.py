"""Runs compared on a store: pairs, matrices, errors, files."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from alexnet.cli import main
from alexnet.data.store.reader import Store
from alexnet.study import compare as study
from alexnet.study.activations import activations, centre_views
from alexnet.study.compare import compare
from alexnet.study.evaluate import evaluate
from alexnet.study.grams import read
from alexnet.study.similarity import MEASURES, similarity
from alexnet.study.trained import load

WriteRun = Callable[..., Path]


@pytest.fixture(scope="module")
def runs(write_run: WriteRun, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Networks of the seeds 1 to 4."""
    folder = tmp_path_factory.mktemp("compared")
    return [write_run(folder / f"seed{seed}", seed=seed) for seed in range(1, 5)]


def shown(result: dict[str, Any]) -> str:
    console = Console(record=True, width=160, file=io.StringIO())
    console.print(study.render(result))
    return console.export_text()


def test_two_runs_are_compared_layer_by_layer(runs: list[Path], store: Path) -> None:
    result = compare(runs[:2], store, device="cpu", layer="relu1,relu7,fc8")
    (pair,) = result["pairs"]
    nets, split = [load(run, "cpu") for run in runs[:2]], Store(store).split("val")
    images = read(split, np.arange(len(split)))
    names = ["relu1", "relu7", "fc8"]
    a, b = (activations(net, centre_views(net, images), names) for net in nets)
    for i, one in enumerate(names):
        for j, other in enumerate(names):
            expected = similarity(a[one].reshape(18, -1), b[other].reshape(18, -1))
            for measure in MEASURES:
                assert pair[measure][i][j] == pytest.approx(expected[measure], abs=2e-4), (one, other, measure)
    tested = [evaluate([run], store, views=1, device="cpu") for run in runs[:2]]
    for run, errors in zip(result["runs"], tested, strict=True):
        assert run["top1_error"] == errors["top1_error"] and run["top5_interval"] == errors["top5_interval"]
    assert pair["top1_difference"] == pytest.approx(tested[1]["top1_error"] - tested[0]["top1_error"])
    assert result["summary"]["across"]["cka"]["mean"] == [pair["cka"][i][i] for i in range(3)]
    assert result["summary"]["across"]["cka"]["sd"] == [None] * 3
    text = shown(result)
    assert "A and B" in text and "relu7" in text and f"{pair['cka'][1][1]:.3f}" in text


def test_a_run_with_itself_has_ones_on_the_diagonal(runs: list[Path], store: Path, tmp_path: Path) -> None:
    result = compare(runs[:1], store, device="cpu", out=tmp_path / "out")
    (pair,) = result["pairs"]
    assert result["runs"][0]["layers"] == [*(f"relu{i}" for i in range(1, 8)), "fc8"]
    for measure in MEASURES:
        matrix = np.array(pair[measure], float)
        assert np.allclose(np.diag(matrix), 1, atol=1e-5) and np.allclose(matrix, matrix.T, atol=1e-5)
        assert matrix[0, 1] < 0.99
    assert "relu1, relu2" in shown(result)
    assert (tmp_path / "out/compare.png").stat().st_size > 20_000


def test_several_runs_give_all_pairs_and_sides_give_those_across_and_within(runs: list[Path], store: Path) -> None:
    every = compare(runs[:3], store, device="cpu", layer="relu7,fc8")
    assert [(pair["a"], pair["b"], pair["kind"]) for pair in every["pairs"]] == [
        (0, 1, "across"),
        (0, 2, "across"),
        (1, 2, "across"),
    ]
    values = [pair["rsa_cosine"][0][0] for pair in every["pairs"]]
    found = every["summary"]["across"]
    assert found["pairs"] == 3 and found["rsa_cosine"]["mean"][0] == pytest.approx(np.mean(values), abs=1e-6)
    assert found["rsa_cosine"]["sd"][0] == pytest.approx(np.std(values, ddof=1), abs=1e-6)
    sides = compare(runs[:2], store, against=runs[2:], device="cpu", layer="relu7,fc8")
    kinds = [(pair["a"], pair["b"], pair["kind"]) for pair in sides["pairs"]]
    assert kinds == [*((a, b, "across") for a in (0, 1) for b in (2, 3)), (0, 1, "within"), (2, 3, "within")]
    assert {group: found["pairs"] for group, found in sides["summary"].items()} == {
        "across": 4,
        "within a": 1,
        "within b": 1,
    }
    assert sides["pairs"][4]["cka"] == every["pairs"][0]["cka"]
    text = shown(sides)
    assert (
        "A1 and B2" in text
        and "within side B, 1 pair" in text
        and "across the sides, 4 pairs" in text
        and "\u00b1" in text
    )


def test_labels_are_matched_by_class_and_unknown_classes_leave_the_layers(
    write_run: WriteRun, store: Path, tmp_path: Path
) -> None:
    wnids = [known.wnid for known in Store(store).classes]
    same = write_run(tmp_path / "same")
    turned = write_run(tmp_path / "turned", wnids=wnids[::-1])
    result = compare([same, turned], store, device="cpu", layer="fc8")
    assert result["pairs"][0]["agreement"] == 1 and result["pairs"][0]["top1_difference"] == 0
    other = write_run(tmp_path / "other", wnids=(*wnids[:4], "n99999999"))
    result = compare([same, other], store, device="cpu", layer="relu7")
    assert "agreement" not in result["pairs"][0] and result["runs"][1]["top1_error"] is None
    assert result["pairs"][0]["cka"][0][0] is not None and "relu7" in shown(result)


def test_images_are_drawn_with_a_seed(runs: list[Path], store: Path) -> None:
    first, again, other = (
        compare(runs[:2], store, device="cpu", layer="relu7", images=9, seed=seed)["pairs"][0]["cka"]
        for seed in (1, 1, 2)
    )
    assert first == again != other
    assert compare(runs[:2], store, device="cpu", layer="relu7", images=9)["compared_images"] == 9
    assert compare(runs[:2], store, device="cpu", layer="relu7", images=0)["compared_images"] == 18


def test_the_command_writes_json_and_figure(
    runs: list[Path], store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["compare", *map(str, runs[:2]), "--against", *map(str, runs[2:])]
    command += [
        "--data",
        str(store),
        "--layer",
        "relu1,fc8",
        "--out",
        str(tmp_path / "out"),
        "--format",
        "svg",
        "--json",
    ]
    assert main(command) == 0
    answer = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "out/compare.json").read_text()) == answer
    assert (tmp_path / "out/compare.svg").read_text().count("<svg") == 1
    assert main(command) == 1 and "--force" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0


def test_mistakes_get_a_sentence(runs: list[Path], store: Path) -> None:
    with pytest.raises(ValueError, match="images is 3; 4 or more"):
        compare(runs, store, images=3)
    with pytest.raises(ValueError, match="no layer 'fc9'"):
        compare(runs, store, layer="fc9", device="cpu")
    with pytest.raises(ValueError, match="no format 'bmp'"):
        compare(runs, store, format="bmp")
    with pytest.raises(ValueError, match="no images in 'test'"):
        compare(runs, store, split="test")
