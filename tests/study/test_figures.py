"""Figures from arrays, and the files of a run."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from alexnet.data.store.reader import Store
from alexnet.study import curves, drawing, plots
from alexnet.study import figures as study
from alexnet.study.figures import figures, from_different_classes
from alexnet.study.scores import image_probabilities
from alexnet.study.smoothing import drops, smoothed
from alexnet.study.tiles import montage
from alexnet.study.trained import load


def pixels(path: Path | str) -> np.ndarray:
    """uint8 [H, W, 3]."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_every_figure_is_written_on_white_and_six_inches_wide_in_print(own_run: Path, store: Path) -> None:
    result = figures(own_run, store, layer="conv1,fc7", device="cpu")
    assert set(result["figures"]) == {
        "conv1_kernels",
        "learning_curves",
        "activations_conv1",
        "activations_fc7",
        "predictions",
        "confusion_matrix",
        "mistakes",
        "similar",
    }
    assert result["checkpoint"] == str(own_run / "checkpoints" / "step-00000006")
    assert json.loads(json.dumps(result)) == result
    for name, path in result["figures"].items():
        assert Path(path).parent == own_run / "figures"
        image = pixels(path)
        assert (image[:2] == 255).all(), name
        assert image.std() > 5, name
        if name != "conv1_kernels":  # this one has only 8 kernels here
            assert 1700 < image.shape[1] < 1900, name
    console = Console(record=True, width=150, file=io.StringIO())
    console.print(study.render(result))
    assert "learning curves" in console.export_text()


def test_without_a_store_the_network_is_drawn_and_what_it_does_to_a_given_image(own_run: Path, source: Path) -> None:
    assert set(figures(own_run, device="cpu")["figures"]) == {"conv1_kernels", "learning_curves"}
    image = source / "val" / "n01440764" / "n01440764_0.png"
    assert "activations_pool5" in figures(own_run, image=image, layer="pool5", device="cpu")["figures"]
    with pytest.raises(ValueError, match="no layer"):
        figures(own_run, image=image, layer="pool9", device="cpu")


def test_kernels_show_zero_as_grey_and_keep_sign_and_hue(tmp_path: Path) -> None:
    weights = np.zeros((96, 3, 11, 11), np.float32)
    weights[1, 0] = 3.0  # red
    weights[50, 1] = -0.5  # less green: magenta
    weights[2] = 0.001  # learned nothing
    drawing.save(plots.kernels(weights), tmp_path / "kernels.png")
    image = pixels(tmp_path / "kernels.png").astype(int)
    assert 1600 < image.shape[1] <= 1800
    colours = {tuple(colour) for colour in np.unique(image[:, 120:].reshape(-1, 3), axis=0).tolist()}
    assert (255, 128, 128) in colours
    assert (128, 0, 128) in colours
    # 12 columns and 4 lines of 11 x 11 kernels in each of 2 towers; the gaps are white
    assert colours == {(255, 255, 255), (128, 128, 128), (255, 128, 128), (128, 0, 128)}
    red = np.argwhere((image == (255, 128, 128)).all(axis=2))
    magenta = np.argwhere((image == (128, 0, 128)).all(axis=2))
    assert red[:, 0].max() < image.shape[0] / 2 < magenta[:, 0].min()
    assert len(red) == len(magenta)


def test_a_montage_holds_every_tile_once_in_order() -> None:
    tiles = np.arange(1, 8)[:, None, None] * np.ones((7, 2, 3))
    whole = montage(tiles, columns=3, blank=0, gap=1)
    assert whole.shape == (8, 11)
    assert [whole[0, 0], whole[0, 4], whole[0, 8], whole[3, 0], whole[6, 0]] == [1, 2, 3, 4, 7]
    assert [(whole == i).sum() for i in range(1, 8)] == [6] * 7


@pytest.mark.parametrize("shape", [(96, 55, 55), (7, 3, 3), (1, 2, 2), (4096,), (10,)])
def test_maps_of_any_shape_can_be_drawn(shape: tuple[int, ...], tmp_path: Path) -> None:
    image = np.full((20, 20, 3), 90, np.uint8)
    random = np.random.default_rng(0)
    for maps in (random.normal(size=shape), np.abs(random.normal(size=shape)), np.zeros(shape)):
        drawing.save(plots.activations(maps.astype(np.float32), image, "any"), tmp_path / "maps.png")
        assert pixels(tmp_path / "maps.png").shape[1] == 1800


def test_drops_are_where_the_learning_rate_falls_at_once() -> None:
    rates = [0.001, 0.01, 0.01, 0.0099, 0.001, 0.001, 0.0001]
    assert drops(np.arange(7) / 2, np.array(rates)) == [(1.5, 0.001), (2.5, 0.0001)]
    assert drops(np.array([]), np.array([])) == []


def test_smoothing_keeps_the_mean() -> None:
    random = np.random.default_rng(0)
    rows = np.stack([np.arange(2000.0), random.normal(size=2000)], 1)
    found = smoothed(rows, 200)
    assert found.shape == (200, 2) and np.allclose(found.mean(0), rows.mean(0))
    assert found[:, 1].std() < rows[:, 1].std() / 2
    assert np.array_equal(smoothed(rows[:20], 200), rows[:20])


@pytest.mark.parametrize("count", [0, 1, 2])
def test_curves_of_a_run_of_few_steps_can_be_drawn(count: int, tmp_path: Path) -> None:
    steps = [{"step": i, "epoch": i / 9, "loss": 2.0, "learning_rate": 0.01} for i in range(1, count + 1)]
    drawing.save(curves.learning_curves(steps, []), tmp_path / "curves.png")
    assert pixels(tmp_path / "curves.png").shape[1] == 1800


def test_chosen_images_come_from_different_classes() -> None:
    labels = np.repeat(np.arange(5), [30, 1, 10, 3, 6])
    chosen = from_different_classes(labels, 5, seed=1)
    assert sorted(labels[chosen]) == [0, 1, 2, 3, 4]
    assert chosen == from_different_classes(labels, 5, seed=1)
    assert chosen != from_different_classes(labels, 5, seed=2)
    more = from_different_classes(labels, 8, seed=1)
    assert len(set(more)) == 8
    assert more[:5] == chosen
    assert len(from_different_classes(labels, 100, seed=1)) == 50


def test_long_names_are_shortened() -> None:
    assert drawing.shorten("tench", 10) == "tench"
    for words in ("West Highland white terrier", "a-very-long-word-without-spaces"):
        assert len(drawing.shorten(words, 12)) <= 12
        assert drawing.shorten(words, 12).endswith("…")


def test_figures_go_to_a_folder_and_format_of_choice_and_over_nothing(own_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "figures"
    result = figures(own_run, out=out, format="pdf", device="cpu")
    assert result["figures"]["conv1_kernels"] == str(out / "conv1_kernels.pdf")
    assert (out / "conv1_kernels.pdf").read_bytes().startswith(b"%PDF")
    assert not (own_run / "figures").exists()
    with pytest.raises(ValueError, match=r"conv1_kernels\.pdf is there already; .*--force"):
        figures(own_run, out=out, format="pdf", device="cpu")
    figures(own_run, out=out, format="pdf", device="cpu", force=True)
    figures(own_run, out=out, format="svg", device="cpu")


def test_a_run_that_cannot_be_written_needs_another_folder(own_run: Path, tmp_path: Path) -> None:
    (own_run / "figures").write_text("not a folder")
    with pytest.raises(ValueError, match=r"figures cannot be written .*; give another folder with --out"):
        figures(own_run, device="cpu")
    figures(own_run, out=tmp_path / "elsewhere", device="cpu")


def test_the_most_wrong_images_come_first(own_run: Path, store: Path) -> None:
    net, pool = load(own_run, "cpu"), Store(store).split("val")
    scores = image_probabilities(net, torch.from_numpy(np.stack([pool.image(i) for i in range(len(pool))])), 1)
    outcomes = study.tested(net, pool, range(len(pool)), pool.labels)
    found = study.most_wrong(outcomes, pool.labels, 100)
    guesses = scores.argmax(1).numpy()
    assert sorted(found) == np.flatnonzero(guesses != pool.labels).tolist()
    sure = [float(scores[i].max()) for i in found]
    assert sure == sorted(sure, reverse=True)
    assert study.most_wrong(outcomes, pool.labels, 3) == found[:3]


def test_a_script_that_the_font_lacks_gives_one_warning_at_most(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    figure = drawing.Figure(figsize=(2, 1))
    for line in range(4):
        figure.text(0.1, 0.2 * line, "\u732b \u0be8 \U00012000 \U0001f408")
    drawing.save(figure, tmp_path / "names.png")
    assert len(capsys.readouterr().err.splitlines()) <= 1 and not recwarn.list


def test_names_are_wrapped_to_two_lines() -> None:
    assert drawing.wrapped("tench", 15) == "tench"
    assert drawing.wrapped("red_striped_triangle", 15) == "red_striped_\ntriangle"
    assert drawing.wrapped("West Highland white terrier", 15) == "West Highland\nwhite terrier"
    assert all(len(line) <= 9 for line in drawing.wrapped("a-very-long-word and another one", 9).split("\n"))


@pytest.mark.parametrize("epochs", [3, 5, 20, 90])
def test_epochs_are_counted_in_whole_numbers(epochs: int) -> None:
    steps = [{"epoch": i / 4, "loss": 2.0, "learning_rate": 0.01} for i in range(1, 4 * epochs + 1)]
    figure = curves.learning_curves(steps, [])
    figure.draw_without_rendering()
    shown = [tick for tick in figure.axes[0].get_xticks() if 0 <= tick <= epochs]
    assert len(shown) > 2 and all(tick == round(tick) for tick in shown)


def test_legends_and_labels_of_drops_hide_no_curve() -> None:
    rates = [0.01] * 60 + [0.001] * 20
    steps = [
        {"epoch": i / 4, "learning_rate": rate, "loss": 2.5 - i / 40, "train_top1_error": 0.9 - i / 100}
        for i, rate in enumerate(rates)
    ]
    figure = curves.learning_curves(steps, [{"epoch": e, "top1_error": 0.5, "top5_error": 0.1} for e in range(20)])
    figure.draw_without_rendering()
    for axes in figure.axes:
        legend = axes.get_legend()
        assert legend is not None and legend.get_window_extent().y0 >= axes.get_window_extent().y1 - 1
        assert legend.get_window_extent().x1 <= figure.bbox.x1
    (label,) = figure.axes[0].texts
    line = figure.axes[0].transData.transform((rates.count(0.01) / 4 - 0.25, 0))[0]
    assert label.get_window_extent().x1 < line  # beside it, not across


@pytest.mark.parametrize("late_loss", [0.1, 2.0, 2.4])
def test_the_label_of_a_drop_stands_where_the_loss_is_not(late_loss: float) -> None:
    steps = [
        {"epoch": i / 4, "learning_rate": 0.01 if i < 60 else 0.001, "loss": 2.5 if i < 40 else late_loss}
        for i in range(80)
    ]
    figure = curves.learning_curves(steps, [])
    figure.draw_without_rendering()
    axes = figure.axes[0]
    label = axes.texts[0].get_window_extent()
    points = axes.transData.transform([(step["epoch"], step["loss"]) for step in steps[40:]])
    assert not any(label.contains(*point) for point in points)
    assert axes.texts[0].get_zorder() < min(
        line.get_zorder() for line in axes.lines if not str(line.get_label()).startswith("_")
    )


def test_the_last_layer_is_drawn_with_the_names_of_its_classes(own_run: Path, source: Path) -> None:
    image = source / "val" / "n01440764" / "n01440764_0.png"
    result = figures(own_run, image=image, layer="fc8", format="svg", device="cpu")
    assert Path(result["figures"]["activations_fc8"]).is_file()
    figure = plots.activations(np.arange(30.0), np.zeros((9, 9, 3), np.uint8), "fc8", 1, [f"c{i}" for i in range(30)])
    names = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert names == [f"c{i}" for i in range(29, 9, -1)]


def test_maps_are_numbered() -> None:
    figure = plots.activations(np.ones((24, 5, 5), np.float32), np.zeros((9, 9, 3), np.uint8), "conv1", 2)
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == ["1", "7", "13", "19"]
