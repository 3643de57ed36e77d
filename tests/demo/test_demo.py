"""The demonstration at small size: it is complete, reports what it measured, and does nothing twice."""

import base64
import html
import inspect
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from alexnet.cli.commands.explore import explore
from alexnet.config import NetworkConfig, TrainConfig
from alexnet.demo import demo as module
from alexnet.demo.demo import demo, render
from alexnet.demo.report import differences, minutes, shown
from alexnet.demo.synthetic import CLASSES
from alexnet.study.evaluate import evaluate
from alexnet.study.scores import percent
from alexnet.training.metrics import with_interval

TRAIN, VAL, SIZE, CROP = 24, 24, 48, 44
CONFIG = TrainConfig(
    recipe="demo",
    epochs=2,
    batch_size=12,
    workers=1,
    device="cpu",
    dtype="float32",
    network=NetworkConfig(input_size=CROP, width=0.05, initial_std=(0.02, *[0.1] * 7)),
)


def run_demo(out: Path, **changes: Any) -> dict[str, Any]:
    sizes = {"train_images": TRAIN, "val_images": VAL, "size": SIZE, "config": CONFIG, "workers": 1}
    return demo(out, **(sizes | changes))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "out"
    run_demo(path)
    return path


@pytest.fixture(scope="module")
def result(out: Path) -> dict[str, Any]:
    return run_demo(out)


@pytest.fixture(scope="module")
def page(result: dict[str, Any]) -> str:
    return Path(result["report"]).read_text(encoding="utf-8")


def test_the_result_is_json_and_is_what_evaluate_measures(result: dict[str, Any], out: Path) -> None:
    assert json.loads(json.dumps(result)) == result
    again = evaluate([out / "run"], out / "store", views=10, device="cpu")
    for key in ("top1_error", "top5_error", "views", "images", "per_class"):
        assert result[key] == again[key], key
    assert result["classes"] == len(CLASSES)
    assert result["chance_top1_error"] == pytest.approx(1 - 1 / len(CLASSES))
    assert 0 <= result["linear"]["top1_error"] <= 1
    assert result["total_seconds"] == pytest.approx(sum(result["seconds"].values()))
    assert all(seconds > 0 for seconds in result["seconds"].values())


def test_the_page_shows_accuracies_classes_and_commands(page: str, result: dict[str, Any]) -> None:
    words = html.unescape(re.sub(r"<[^>]+>", " ", page.partition("</style>")[2]))
    for error in ("top1_error", "top5_error", "centre_top1_error", "chance_top1_error"):
        assert percent(1 - result[error]) in words, error
    for error in (result["top1_error"], result["centre_top1_error"], result["linear"]["top1_error"]):
        assert with_interval(1 - error, result["images"]) in words  # beside the bar
    for row in result["per_class"]:
        assert with_interval(1 - row["top1_error"], row["images"]) in words
    for name in CLASSES:
        assert name.replace("_", " ") in words
    for command in ("prepare", "train", "evaluate", "predict", "similar", "figures", "explore"):
        assert f"alexnet {command} " in words
    assert "0.05" in words  # the width, among what differs from the paper
    defaults = {name: each.default for name, each in inspect.signature(explore).parameters.items()}
    assert f'href="http://{defaults["host"]}:{defaults["port"]}/"' in page


def test_the_page_holds_examples_curves_kernels_predictions_mistakes_and_nearest_images(page: str, out: Path) -> None:
    inside = [base64.b64decode(data) for data in re.findall(r'src="data:image/png;base64,([^"]+)"', page)]
    assert len(inside) == 6
    for data in inside:
        with Image.open(io.BytesIO(data)) as image:
            assert image.convert("L").getextrema() != (255, 255)
    for name in ("learning_curves", "conv1_kernels", "predictions", "mistakes", "similar"):
        assert (out / "run" / "figures" / f"{name}.png").read_bytes() in inside, name
    assert page.count("alt=") == 6


def test_a_finished_demonstration_answers_without_doing_anything(
    out: Path, result: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for stage in ("draw_set", "prepare", "train", "evaluate", "linear_classifier", "figures", "write"):
        monkeypatch.setattr(module, stage, None)
    assert run_demo(out) == result


def drawn_before(run: Path, *_: object, **__: object) -> dict[str, Any]:
    """The figures that a run has: drawing is most of a demonstration's time."""
    return {"figures": {path.stem: path for path in (run / "figures").glob("*.png")}}


def test_a_lost_report_is_made_again_without_training(
    out: Path, result: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "figures", drawn_before)
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    (copy / "report.html").unlink()
    drawn = (copy / "run" / "metrics.jsonl").read_bytes()
    again = run_demo(copy)
    assert (copy / "report.html").is_file()
    assert (copy / "run" / "metrics.jsonl").read_bytes() == drawn
    for key in ("top1_error", "centre_top1_error", "epochs", "steps", "linear", "confusions"):
        assert again[key] == result[key], key
    assert again["seconds"]["train"] >= result["seconds"]["train"]


@pytest.mark.parametrize("stage", ["prepare", "train", "evaluate", "figures"])
def test_stopped_anywhere_it_resumes_and_counts_its_time(
    stage: str, out: Path, result: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    record = json.loads((copy / "demo.json").read_text()) | {"result": None}
    (copy / "demo.json").write_text(json.dumps(record))
    if stage == "prepare":
        shutil.rmtree(copy / "store")
    with monkeypatch.context() as patch:

        def stop(*args: object, **options: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(module, stage, stop)
        with pytest.raises(KeyboardInterrupt):
            run_demo(copy)
    if stage != "figures":
        monkeypatch.setattr(module, "figures", drawn_before)
    again = run_demo(copy)
    assert again["top1_error"] == result["top1_error"]
    assert again["seconds"][stage] > result["seconds"][stage]


@pytest.mark.parametrize("what", ["seed", "settings", "foreign", "damaged"])
def test_another_folder_is_left_alone(what: str, out: Path, tmp_path: Path) -> None:
    copy = tmp_path / "somewhere"
    copy.mkdir()
    changes: dict[str, Any] = {}
    if what == "foreign":
        (copy / "holiday.txt").write_text("mine")
    else:
        shutil.copy(out / "demo.json", copy)
    if what == "damaged":
        (copy / "demo.json").write_text("{}")
    if what == "seed":
        changes["seed"] = 1
    if what == "settings":
        changes["size"] = 56
    before = {file.name: file.read_bytes() for file in copy.iterdir()}
    with pytest.raises(ValueError, match="somewhere"):
        run_demo(copy, **changes)
    assert {file.name: file.read_bytes() for file in copy.iterdir()} == before


def test_the_terminal_shows_the_numbers_and_the_path_of_the_report(result: dict[str, Any]) -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(render(result))
    text = console.export_text()
    assert percent(1 - result["top1_error"]) in text
    assert percent(1 - result["linear"]["top1_error"]) in text
    assert result["report"] in text
    assert text.rstrip().endswith(f"alexnet explore {result['run']} --data {result['store']}")


def test_the_paper_differs_from_itself_in_nothing() -> None:
    assert differences(TrainConfig()) == []
    found = {name: (here, paper) for name, here, paper in differences(CONFIG)}
    assert found["network.width"] == (0.05, 1.0)
    assert found["batch_size"] == (12, 128)
    assert "optim.lr" not in found


def test_values_are_short() -> None:
    assert shown((0.25, 1, 1e-4)) == "0.25, 1, 0.0001"
    assert shown(()) == "none"
    assert [minutes(s) for s in (0.4, 59.4, 59.6, 134)] == ["0 s", "59 s", "1 min 0 s", "2 min 14 s"]
