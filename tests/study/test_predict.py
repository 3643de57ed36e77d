"""Labels for image files."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

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
    with pytest.raises(ValueError, match="holds no"):
        predict(run, [tmp_path], device="cpu")
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
    assert "English springer" in text
    assert "█" in text
    with Image.open(panel) as image:
        assert image.getpixel((0, 0))[:3] == (255, 255, 255)  # type: ignore[index]
        assert 850 < image.width < 950
    with pytest.raises(ValueError, match="at most 40"):
        predict(run, [source / "val"] * 3, views=1, device="cpu", panel=panel)
    with pytest.raises(ValueError, match=r"panel\.txt"):
        predict(run, [source / "val" / "n01440764"], views=1, device="cpu", panel=tmp_path / "panel.txt")


def test_classifying_does_not_import_the_compiler_or_matplotlib() -> None:
    code = "import sys, alexnet.study.predict; print(*{'torch._dynamo', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
