"""Errors on a store, of one network and of several."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from sklearn.metrics import balanced_accuracy_score
from sklearn.metrics import confusion_matrix as sklearn_matrix

from alexnet.data.classes import Class
from alexnet.data.prepare.prepare import prepare
from alexnet.data.store.reader import Store
from alexnet.study import evaluate as study
from alexnet.study.doubts import same_label
from alexnet.study.evaluate import evaluate
from alexnet.study.scores import image_probabilities
from alexnet.study.trained import load

ERRORS = ("top1_error", "top5_error")


@pytest.mark.parametrize("views", [1, 10])
def test_errors_count_the_images_whose_class_is_not_first_or_not_among_five(
    val_split: tuple[torch.Tensor, np.ndarray], run: Path, store: Path, views: int
) -> None:
    images, labels = val_split
    scores = image_probabilities(load(run, "cpu"), images, views).numpy()
    rank = (scores > scores[np.arange(len(labels)), labels][:, None]).sum(1)
    result = evaluate([run], store, views=views, batch_size=5, device="cpu")
    assert result["top1_error"] == pytest.approx((rank >= 1).mean())
    assert result["top5_error"] == pytest.approx((rank >= 5).mean())
    assert result["views"] == views
    assert result["images"] == len(labels)
    weighted = sum(row["top1_error"] * row["images"] for row in result["per_class"])
    assert weighted == pytest.approx((rank >= 1).sum())


def test_a_constant_network_scores_chance(write_run: Callable[..., Path], store: Path, tmp_path: Path) -> None:
    constant = write_run(tmp_path / "constant", constant=True)
    result = evaluate([constant], store, device="cpu")
    assert result["top1_error"] == pytest.approx(5 / 6, abs=1e-12)
    assert result["top5_error"] == pytest.approx(1 / 6, abs=1e-12)
    assert len(result["warnings"]) == 1 and "every image gets the same label, " in result["warnings"][0]


def test_an_ensemble_of_one_run_is_that_run(run: Path, store: Path) -> None:
    alone = evaluate([run], store, device="cpu")
    assert [alone["members"][0][key] for key in ERRORS] == [alone[key] for key in ERRORS]
    twice = evaluate([run, run], store, weights=[3, 1], device="cpu")
    assert [twice[key] for key in ERRORS] == [alone[key] for key in ERRORS]
    assert len(twice["members"]) == 2


def test_an_ensemble_averages_the_outputs_with_weights(
    val_split: tuple[torch.Tensor, np.ndarray], run: Path, write_run: Callable[..., Path], store: Path, tmp_path: Path
) -> None:
    other = write_run(tmp_path / "other", seed=5)
    images, labels = val_split
    first, second = (image_probabilities(load(one, "cpu"), images, 10) for one in (run, other))
    both = (0.25 * first + 0.75 * second).numpy()
    result = evaluate([run, other], store, weights=[1, 3], device="cpu")
    assert result["top1_error"] == pytest.approx((both.argmax(1) != labels).mean())
    assert [member["weight"] for member in result["members"]] == [0.25, 0.75]
    only_second = evaluate([run, other], store, weights=[0, 1], device="cpu")
    assert only_second["top1_error"] == only_second["members"][1]["top1_error"]


def test_the_order_of_the_classes_does_not_matter(
    run: Path, write_run: Callable[..., Path], store: Path, tmp_path: Path
) -> None:
    wnids = [entry.wnid for entry in Store(store).classes]
    shuffled = write_run(tmp_path / "shuffled", wnids=[wnids[i] for i in (3, 0, 5, 1, 4, 2)])
    straight = evaluate([run], store, device="cpu")
    result = evaluate([shuffled], store, device="cpu")
    assert [result[key] for key in ERRORS] == [straight[key] for key in ERRORS]
    by_wnid = {row["wnid"]: row for row in straight["per_class"]}
    assert {row["wnid"]: row for row in result["per_class"]} == by_wnid
    together = evaluate([shuffled, run], store, device="cpu")
    assert [together[key] for key in ERRORS] == [straight[key] for key in ERRORS]


def test_runs_and_stores_that_do_not_fit_are_refused(
    run: Path, write_run: Callable[..., Path], source: Path, store: Path, tmp_path: Path
) -> None:
    wnids = [entry.wnid for entry in Store(store).classes]
    fewer = write_run(tmp_path / "fewer", wnids=wnids[:5])
    renamed = write_run(tmp_path / "renamed", wnids=[*wnids[:5], "n99999999"])
    with pytest.raises(ValueError, match=wnids[5]):
        evaluate([fewer], store, device="cpu")
    for other in (fewer, renamed):
        with pytest.raises(ValueError, match="do not know the same classes"):
            evaluate([run, other], store, device="cpu")
        with pytest.raises(ValueError, match="do not know the same classes"):
            evaluate([other, run], store, device="cpu")
    prepare(source, tmp_path / "larger", size=60, workers=1)
    with pytest.raises(ValueError, match="--size 56"):
        evaluate([run], tmp_path / "larger", device="cpu")
    with pytest.raises(ValueError, match="train, val"):
        evaluate([run], store, split="test", device="cpu")
    with pytest.raises(ValueError, match="views is 5"):
        evaluate([run], store, views=5, device="cpu")
    for weights in ([1, 2], [-1], [0]):
        with pytest.raises(ValueError, match="weights"):
            evaluate([run], store, weights=weights, device="cpu")


def test_a_network_may_know_more_classes_than_the_store_has(
    write_run: Callable[..., Path], store: Path, tmp_path: Path
) -> None:
    wnids = [entry.wnid for entry in Store(store).classes]
    more = write_run(tmp_path / "more", wnids=["n01443537", *wnids], constant=True)
    result = evaluate([more], store, views=1, device="cpu")
    assert result["classes"] == 7
    assert result["top1_error"] == pytest.approx(6 / 7)
    assert len(result["per_class"]) == 6


def test_results_are_json_and_can_be_read_on_a_terminal(run: Path, store: Path) -> None:
    result = evaluate([run, run], store, device="cpu")
    assert json.loads(json.dumps(result)) == result
    console = Console(record=True, width=80, file=io.StringIO())
    console.print(study.render(result))
    text = console.export_text()
    low, high = result["top1_interval"]
    assert f"{100 * result['top1_error']:.1f} % ({100 * low:.1f} to {100 * high:.1f})" in text
    assert {member["checkpoint"] for member in result["members"]} == {str(run / "checkpoints" / "step-00000006")}
    assert "ensemble of 2" in text
    assert "tench" in text


def test_several_labels_or_a_single_class_are_not_suspicious() -> None:
    classes = [Class("n1", "one"), Class("n2", "two")]
    assert len(same_label(np.array([1, 1]), np.array([0, 1]), classes)) == 1
    assert same_label(np.array([1, 0]), np.array([0, 1]), classes) == []
    assert same_label(np.array([1, 1]), np.array([1, 1]), classes) == []


def scores_of(runs: list[Path], images: torch.Tensor) -> np.ndarray:
    return torch.stack([image_probabilities(load(run, "cpu"), images, 1) for run in runs]).mean(0).numpy()


@pytest.mark.parametrize("several", [False, True])
def test_the_table_the_matrix_and_the_balanced_error_are_those_of_scikit_learn(
    val_split: tuple[torch.Tensor, np.ndarray],
    run: Path,
    write_run: Callable[..., Path],
    store: Path,
    tmp_path: Path,
    several: bool,
) -> None:
    images, labels = val_split
    runs = [run, write_run(tmp_path / "other", seed=5)] if several else [run]
    scores = scores_of(runs, images)
    guesses = scores.argmax(1)
    table = tmp_path / "new" / "images.csv"
    result = evaluate(runs, store, views=1, device="cpu", csv=table)
    classes = Store(store).classes
    matrix = sklearn_matrix(labels, guesses, labels=range(6))
    assert result["confusion_matrix"] == {"wnids": [each.wnid for each in classes], "counts": matrix.tolist()}
    assert result["balanced_error"] == pytest.approx(1 - balanced_accuracy_score(labels, guesses))
    assert result["csv"] == str(table)
    with open(table, encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    split = Store(store).split("val")
    assert [row["key"] for row in rows] == [split.key(index) for index in range(len(split))]
    for row, truth, guess, probabilities in zip(rows, labels, guesses, scores, strict=True):
        assert (row["true_wnid"], row["true_name"]) == classes[truth]
        assert (row["predicted_wnid"], row["predicted_name"]) == classes[guess]
        assert float(row["probability_of_true"]) == pytest.approx(probabilities[truth], rel=1e-4)
        assert float(row["probability_of_predicted"]) == pytest.approx(probabilities[guess], rel=1e-4)
        assert int(row["rank_of_true"]) == sorted(probabilities, reverse=True).index(probabilities[truth]) + 1
        assert row["correct"] == str(int(truth == guess))


def test_files_that_are_there_stay_and_figures_are_drawn(run: Path, store: Path, tmp_path: Path) -> None:
    names = {"csv": "images.csv", "panel": "wrong.png", "figure": "matrix.png"}
    files = {option: tmp_path / name for option, name in names.items()}
    for option, file in files.items():
        file.write_text("mine")
        with pytest.raises(ValueError, match="--force"):
            evaluate([tmp_path / "no-run"], store, **{option: file})  # type: ignore[arg-type]
    result = evaluate([run], store, views=1, device="cpu", force=True, **files)  # type: ignore[arg-type]
    assert {option: result[option] for option in files} == {option: str(file) for option, file in files.items()}
    for option in ("panel", "figure"):
        with Image.open(files[option]) as image:
            assert np.asarray(image).std() > 5
    console = Console(record=True, width=200, file=io.StringIO())
    console.print(study.render(result))
    text = console.export_text()
    assert all(str(file) in text for file in files.values())


def test_unequal_classes_have_their_balanced_error_in_words(
    run: Path, source: Path, tmp_path: Path, val_split: tuple[torch.Tensor, np.ndarray]
) -> None:
    folder = Path(shutil.copytree(source, tmp_path / "images"))
    for file in sorted((folder / "val" / "n01440764").iterdir())[1:]:
        file.unlink()
    prepare(folder, tmp_path / "store", size=56, workers=1)
    result = evaluate([run], tmp_path / "store", views=1, device="cpu")
    assert result["balanced_error"] == pytest.approx(np.mean([row["top1_error"] for row in result["per_class"]]))
    console = Console(record=True, width=200, file=io.StringIO())
    console.print(study.render(result))
    low, high = result["balanced_interval"]
    said = f"{100 * result['balanced_error']:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
    text = console.export_text()
    assert f"top-1 errors: {said}" in text and "The classes have 1 to 3 images." in text
    assert "top-5 error says nothing" not in text
    console.print(study.render(result | {"per_class": result["per_class"][:5]}))
    assert "the top-5 error says nothing" in console.export_text()
