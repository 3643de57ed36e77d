"""The notebook runs from its first cell to its last, at a small size, and is kept without outputs."""

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

FILE = Path(__file__).parents[1] / "notebooks/the-paper.ipynb"
pytestmark = pytest.mark.skipif(not FILE.is_file(), reason="the notebook is not beside the tests")
SMALL = "train_images, val_images, epochs = 48, 24, 1"


def test_it_is_kept_without_outputs() -> None:
    cells = [cell for cell in nbformat.read(FILE, 4).cells if cell.cell_type == "code"]
    assert len(cells) > 10
    assert not [cell for cell in cells if cell.outputs or cell.execution_count]


def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("MPLBACKEND", raising=False)  # Jupyter chooses its own
    notebook = nbformat.read(FILE, 4)
    (first,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    first.source = SMALL
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    drawn = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert len(drawn) == 9
    sizes = [Image.open(io.BytesIO(base64.b64decode(each))).size for each in drawn]
    assert all(width > 300 and height > 50 for width, height in sizes)
    said = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "60,965,224 weights" in said and "tower by tower: True" in said and "top-1 error of 24 images" in said
