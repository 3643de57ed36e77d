"""What all exports share: the folder, its card, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from one_line import one_line

from alexnet import load
from alexnet.cli import main
from alexnet.data.classes import read_classes
from alexnet.exchange import parity
from alexnet.exchange.export import export
from alexnet.exchange.folder import whole_folder

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")


def test_the_folder_holds_all_that_a_user_needs(run: Path, tmp_path: Path) -> None:
    result = export(run, tmp_path / "deep/out")
    net = load(run, "cpu")
    assert [Path(file["path"]).name for file in result["files"]] == [
        "README.md",
        "classes.json",
        "mean.npy",
        "model.onnx",
    ]
    assert read_classes(tmp_path / "deep/out/classes.json") == net.classes
    assert np.array_equal(np.load(tmp_path / "deep/out/mean.npy"), net.preprocess.mean.numpy())
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


def test_the_card_tells_errors_weights_and_differences(run: Path, tmp_path: Path) -> None:
    result = export(run, tmp_path / "out")
    text = (tmp_path / "out/README.md").read_text()
    _, front, page = text.split("---\n", 2)
    metadata = yaml.safe_load(front)
    assert metadata["license"] is None  # for the user to fill in
    assert metadata["pipeline_tag"] == "image-classification"
    assert [metric["value"] for metric in metadata["model-index"][0]["results"][0]["metrics"]] == [0.75, 0.875]
    assert "Top-1 error 25.0 %, top-5 error 12.5 %" in page
    assert Path(result["checkpoint"]).name in page
    assert "| width | 0.0833333 | 1 |" in page


def test_a_folder_that_is_there_is_overwritten_only_with_force(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "letter.txt").write_text("mine")
    (out / "README.md").write_text("mine too")
    assert main(["export", str(run), str(out)]) == 1
    assert "--force" in one_line(capsys.readouterr().err)
    assert (out / "README.md").read_text() == "mine too"
    assert main(["export", str(run), str(out), "--force"]) == 0
    assert (out / "letter.txt").read_text() == "mine"
    assert (out / "model.onnx").exists() and "AlexNet" in (out / "README.md").read_text()


def test_after_a_failure_nothing_is_left(tmp_path: Path) -> None:
    def fail_half_way() -> None:
        with whole_folder(tmp_path / "out", "export") as folder:
            (folder / "half").write_text("written")
            raise KeyError

    with pytest.raises(KeyError):
        fail_half_way()
    assert list(tmp_path.iterdir()) == []


def test_two_writers_of_one_folder_do_not_mix(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "out", "export") as folder:
        (folder / "weights").write_text("mine")
        with pytest.raises(ValueError, match="Another import is writing"), whole_folder(tmp_path / "out", "import"):
            pass
    with pytest.raises(ValueError, match="is not empty"), whole_folder(tmp_path / "out", "import", new=True):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "weights"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["out.onnx"], "would be a folder"),
        (["out", "--views", "10"], "add --preprocess"),
        (["out", "--preprocess", "--views", "3"], "must be 1"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(
    options: list[str], sentence: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run), str(tmp_path / options[0]), *options[1:]]) == 2
    assert sentence in one_line(capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_differ_are_told_apart() -> None:
    ours = np.array([[5.0, 4, 3, 2, 1, 0]], np.float32)
    assert parity.compare(ours, ours + 1e-5, "x") < 1e-5
    for theirs in (ours + 1e-3, ours[:, ::-1], ours * np.nan, ours[:, :5]):
        with pytest.raises(ValueError, match="x "):
            parity.compare(ours, theirs, "x")
