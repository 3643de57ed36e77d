"""Labels for image files."""

import csv
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from alexnet.cli import main
from alexnet.study import predict as study
from alexnet.study.predict import predict
from alexnet.study.trained import load


@pytest.mark.parametrize("views", [1, 10])
def test_the_five_most_probable_classes_in_order(run: Path, source: Path, views: int) -> None:
    path = source / "val" / "n02102040" / "n02102040_0.png"
    (answer,) = predict(run, [path], views=views, device="cpu")["predictions"]
    net = load(run, "cpu")
    shown = net.preprocess(path)[None] if views == 1 else net.preprocess.ten_views(path)
    with torch.inference_mode():
        scores = net(shown).softmax(1).mean(0)
    found = {guess["wnid"]: guess["probability"] for guess in answer["top5"]}
    expected = sorted(zip(scores.tolist(), net.classes, strict=True), reverse=True)[:5]
    assert list(found) == [entry.wnid for _, entry in expected]
    assert list(found.values()) == pytest.approx([score for score, _ in expected], abs=1e-5)
    assert answer["true"] == "n02102040"


def test_a_folder_stands_for_the_images_in_it_whatever_they_are_called(run: Path, source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    (folder / "below").mkdir(parents=True)
    one = source / "val" / "n01440764" / "n01440764_0.png"
    shutil.copy(one, folder / "b.png")
    shutil.copy(one, folder / "an-image-without-suffix")
    Image.open(one).save(folder / "below" / "c.jpg")
    (folder / "notes.txt").write_text("not an image")
    (folder / ".hidden.png").write_bytes(one.read_bytes())
    paths = [entry["path"] for entry in predict(run, [folder, one], views=1, device="cpu")["predictions"]]
    names = ("an-image-without-suffix", "b.png", "below/c.jpg")
    assert paths == [*(str(folder / name) for name in names), str(one)]
    assert predict(run, [folder / "b.png"], device="cpu")["predictions"][0]["true"] is None


def test_a_file_that_is_no_image_is_named(run: Path, tmp_path: Path) -> None:
    text = tmp_path / "cat.jpg"
    text.write_text("not an image")
    with pytest.raises(ValueError, match=r"cat\.jpg"):
        predict(run, [text], device="cpu")
    with pytest.raises(ValueError, match=r"dog\.jpg does not exist"):
        predict(run, [tmp_path / "dog.jpg"], device="cpu")
    with pytest.raises(ValueError, match=r"cat\.jpg"):
        predict(run, [tmp_path], device="cpu")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("not an image")
    with pytest.raises(ValueError, match="folder holds no images"):
        predict(run, [tmp_path / "folder"], device="cpu")
    with pytest.raises(ValueError, match="views is 2"):
        predict(run, [text], views=2, device="cpu")


def test_bars_are_as_long_as_the_probability() -> None:
    assert study.bar(1, 30) == "█" * 30
    assert study.bar(0, 30) == ""
    assert study.bar(0.5, 3) == "█▌"
    lengths = [len(study.bar(fraction, 20)) for fraction in np.linspace(0, 1, 50)]
    assert lengths == sorted(lengths)


def test_results_are_json_and_can_be_read_on_a_terminal(run: Path, source: Path, tmp_path: Path) -> None:
    panel = tmp_path / "new" / "panel.png"
    result = predict(run, [source / "val"], views=1, device="cpu", panel=panel)
    assert json.loads(json.dumps(result)) == result
    console = Console(record=True, width=80, file=io.StringIO())
    console.print(study.render(result))
    text = console.export_text()
    assert "English springer" in text and text.startswith(f"{len(result['predictions'])} images, ")
    assert "█" in text
    with Image.open(panel) as image:
        assert image.getpixel((0, 0))[:3] == (255, 255, 255)  # type: ignore[index]
        assert 1700 < image.width < 1900  # 6 inches at 300 dots
    with pytest.raises(ValueError, match="at most 40"):
        predict(run, [source / "val"] * 3, views=1, device="cpu", panel=panel, force=True)
    assert result["checkpoint"] in text and result["checkpoint"].endswith("step-00000006")


@pytest.mark.parametrize("width", [30, 60, 80, 10_000])
def test_no_per_cent_is_lost_on_a_narrow_terminal(run: Path, source: Path, width: int) -> None:
    result = predict(run, [source / "val" / "n01440764"], views=1, device="cpu")
    console = Console(record=True, width=width, file=io.StringIO())
    console.print(study.render(result))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= max(width, 200)
    for answer in result["predictions"]:
        for guess in answer["top5"]:
            assert f"{100 * guess['probability']:.1f} %" in text


def test_a_panel_that_cannot_be_written_is_refused_before_anything_is_done(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images = [source / "val" / "n01440764"]
    Path("mine.png").write_text("mine")
    for panel, sentence in (
        (".", r"^\. is a folder; give the name of a file"),
        ("panel.txt", r"panel\.txt is no name for a figure; give one that ends in \.png, \.pdf or \.svg"),
        ("panel", "panel is no name for a figure"),
        ("mine.png", r"mine\.png is there already; give another name, or --force"),
        ("mine.png/panel.png", r"mine\.png is a file, not a folder"),
    ):
        with pytest.raises(ValueError, match=sentence):
            predict(tmp_path / "no-run", images, panel=Path(panel))
    assert Path("mine.png").read_text() == "mine"


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_a_panel_may_be_overwritten_and_have_any_format(run: Path, source: Path, tmp_path: Path, suffix: str) -> None:
    panel = tmp_path / f"panel.{suffix}"
    panel.write_text("old")
    predict(run, [source / "val" / "n01440764"], views=1, device="cpu", panel=panel, force=True)
    assert panel.read_bytes()[:5] in (b"\x89PNG\r", b"%PDF-", b"<?xml")


def test_a_damaged_image_is_a_line_and_the_others_are_classified(
    run: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(source / "val" / "n01440764", tmp_path / "folder"))
    bad = folder / "n01440764_1.png"
    bad.write_bytes(bad.read_bytes()[:300])
    result = predict(run, [folder], views=1, device="cpu", panel=tmp_path / "panel.png")
    assert [Path(entry["path"]).name for entry in result["predictions"]] == ["n01440764_0.png", "n01440764_2.png"]
    assert [entry["path"] for entry in result["skipped"]] == [str(bad)]
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning:")]
    assert len(warnings) == 1 and f"warning: left out: {bad} is not an image" in warnings[0]
    for path in folder.iterdir():
        path.write_bytes(bad.read_bytes())
    with pytest.raises(ValueError, match="None of 3 images can be read"):
        predict(run, [folder], views=1, device="cpu")


def test_a_network_that_tells_no_images_apart_is_reported(
    write_run: Callable[..., Path], source: Path, tmp_path: Path
) -> None:
    constant = write_run(tmp_path / "constant", constant=True)
    (warning,) = predict(constant, [source / "val" / "n01440764"], views=1, device="cpu")["warnings"]
    assert "tells no images apart" in warning


def test_classifying_does_not_import_the_compiler_or_matplotlib() -> None:
    code = "import sys, alexnet.study.predict; print(*{'torch._dynamo', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file as Python reads them."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_has_a_row_for_each_image_with_its_labels_in_order(run: Path, source: Path, tmp_path: Path) -> None:
    result = predict(run, [source / "val"], views=1, device="cpu", csv=tmp_path / "new" / "labels.csv")
    rows = table(tmp_path / "new" / "labels.csv")
    assert [row["path"] for row in rows] == [answer["path"] for answer in result["predictions"]]
    for row, answer in zip(rows, result["predictions"], strict=True):
        assert row["error"] == "" and len(answer["top5"]) == 5
        for rank, guess in enumerate(answer["top5"], 1):
            assert (row[f"wnid_{rank}"], row[f"name_{rank}"]) == (guess["wnid"], guess["name"])
            assert float(row[f"probability_{rank}"]) == pytest.approx(guess["probability"], rel=1e-5)


@pytest.mark.parametrize(("top", "labels"), [(1, 1), (3, 3), (6, 6), (1000, 6)])
def test_as_many_labels_as_asked_for_or_as_there_are_classes(run: Path, source: Path, top: int, labels: int) -> None:
    image = source / "val" / "n02102040" / "n02102040_0.png"
    (five,) = predict(run, [image], views=1, device="cpu")["predictions"]
    (other,) = predict(run, [image], views=1, top=top, device="cpu")["predictions"]
    found = other[f"top{top}"]
    assert len(found) == labels and found[:5] == five["top5"][:labels] and "top5" not in other
    assert sum(guess["probability"] for guess in found) == pytest.approx(1) or labels < 6


@pytest.mark.parametrize("top", [2, 6])
def test_a_panel_and_bars_show_what_was_asked_for(run: Path, source: Path, tmp_path: Path, top: int) -> None:
    panel = tmp_path / "panel.svg"
    result = predict(run, [source / "val" / "n01440764"], views=1, top=top, device="cpu", panel=panel)
    console = Console(record=True, width=80, file=io.StringIO())
    console.print(study.render(result))
    assert console.export_text().count(" %") == 3 * top and panel.exists()


def test_a_bad_image_is_a_row_and_a_line_and_exit_code_1_at_the_end(
    run: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(source / "val" / "n01440764", "folder")
    Path("folder/bad.jpg").write_bytes(b"no image")
    command = ["predict", str(run), "folder", "--csv", "out.csv", "--views", "1", "--device", "cpu", "--json"]
    assert main(command) == 1
    said = capsys.readouterr()
    answer = json.loads(said.out)
    assert len(answer["predictions"]) == answer["images"] == 3
    assert answer["error"].startswith("1 of 4 images cannot be read, such as folder/bad.jpg; all others are done.")
    assert said.err.splitlines()[-1] == f"alexnet predict: {answer['error']}"
    bad, *good = table(Path("out.csv"))
    assert bad["path"] == "folder/bad.jpg" and "not an image" in bad["error"] and bad["wnid_1"] == ""
    assert len(good) == 3 and all(row["error"] == "" for row in good)


def test_a_table_is_written_whole_or_not_at_all(
    run: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.csv").write_text("mine")
    images = [source / "val"]
    for name, sentence in (
        ("mine.csv", "--force"),
        ("labels.xlsx", "give one that ends in .csv"),
        (".", "is a folder"),
    ):
        with pytest.raises(ValueError, match=sentence):
            predict(tmp_path / "no-run", images, csv=Path(name))
    monkeypatch.setattr(study, "rounded", lambda number: 1 / 0)  # an error in the middle
    with pytest.raises(ZeroDivisionError):
        predict(run, images, views=1, device="cpu", csv=Path("mine.csv"), force=True)
    assert Path("mine.csv").read_text() == "mine" and [path.name for path in Path().iterdir()] == ["mine.csv"]


def test_with_a_table_the_result_holds_the_first_images_only(
    run: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "MOST_KEPT", 4)
    monkeypatch.setattr(study, "MOST_SHOWN", 2)
    result = predict(run, [source / "val"], views=1, device="cpu", csv=tmp_path / "out.csv")
    assert len(table(tmp_path / "out.csv")) == result["images"] == 18 and len(result["predictions"]) == 4
    console = Console(record=True, width=200, file=io.StringIO())
    console.print(study.render(result))
    text = console.export_text()
    assert text.count("n01440764_") == 2
    assert f"The labels of 16 more images and those above are in {tmp_path / 'out.csv'}." in text
    assert len(predict(run, [source / "val"], views=1, device="cpu")["predictions"]) == 18
