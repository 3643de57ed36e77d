"""Whole and damaged stores and runs."""

import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from runs import write_checksums
from safetensors.torch import load_file, save_file

from alexnet.study import verify as study
from alexnet.study.verify import verify


def tensors(run: Path, name: str = "weights") -> Path:
    (file,) = run.glob(f"checkpoints/*/{name}.safetensors")
    return file


def replace(values: dict[str, torch.Tensor], file: Path) -> None:
    """Write other tensors to a file of a checkpoint, with checksums that fit."""
    save_file(values, file)
    write_checksums(file.parent)


def spoil_number(run: Path) -> str:
    file = tensors(run)
    weights = load_file(file)
    weights["conv3.weight"][0, 0, 0, 0] = torch.nan
    replace(weights, file)
    return "conv3.weight is not finite"


def spoil_shape(run: Path) -> str:
    file = tensors(run, "velocity")
    velocity = load_file(file)
    velocity["fc6.bias"] = velocity["fc6.bias"][1:].clone()
    replace(velocity, file)
    return "velocity.safetensors cannot be used (fc6.bias is float32"


def lose_layer(run: Path) -> str:
    file = tensors(run)
    weights = load_file(file)
    del weights["fc8.bias"]
    replace(weights, file)
    return "weights.safetensors cannot be used (fc8.bias is missing)"


def truncate_weights(run: Path) -> str:
    tensors(run).write_bytes(tensors(run).read_bytes()[:-5])
    write_checksums(tensors(run).parent)
    return "weights.safetensors cannot be used"


def flip_a_bit_of_a_weight(run: Path) -> str:
    (file,) = run.glob("checkpoints/*/weights.safetensors")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    return "weights.safetensors cannot be used (its checksum is not the one"


def truncate_metrics(run: Path) -> str:
    file = run / "metrics.jsonl"
    file.write_text(file.read_text()[:-5])
    return "metrics.jsonl, line 8"


def lose_class(run: Path) -> str:
    file = run / "classes.json"
    file.write_text(json.dumps(json.loads(file.read_text())[1:]))
    return "classes.json has 5 classes"


def repeat_class(run: Path) -> str:
    file = run / "classes.json"
    classes = json.loads(file.read_text())
    file.write_text(json.dumps([classes[0], *classes[:-1]]))
    return "has a class twice"


def flatten_classes(run: Path) -> str:
    (run / "classes.json").write_text('["tench"]')
    return "not a list of"


def spoil_mean(run: Path) -> str:
    np.save(run / "mean.npy", np.zeros((30, 30, 3), np.float32))
    return "mean.npy is not the mean image"


def lose_mean(run: Path) -> str:
    (run / "mean.npy").unlink()
    return "mean.npy cannot be read"


def spoil_state(run: Path) -> str:
    (tensors(run).parent / "state.json").write_text("{")
    return "state.json cannot be used"


def lose_checkpoints(run: Path) -> str:
    shutil.rmtree(run / "checkpoints")
    return "has no checkpoint"


def unknown_setting(run: Path) -> str:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"epoch": 3}))
    return "did you mean 'epochs'"


DAMAGES = (
    spoil_number,
    spoil_shape,
    lose_layer,
    truncate_weights,
    flip_a_bit_of_a_weight,
    truncate_metrics,
    lose_class,
    repeat_class,
    flatten_classes,
    spoil_mean,
    lose_mean,
    spoil_state,
    lose_checkpoints,
    unknown_setting,
)


def test_a_whole_run_passes_and_is_described(run: Path) -> None:
    result = verify(run)
    assert result["kind"] == "run"
    assert (result["classes"], result["size"], result["steps"], result["evaluations"]) == (6, 56, 6, 2)
    assert result["checkpoints"] == [{"step": 6, "epoch": 2.0}]
    assert json.loads(json.dumps(result)) == result
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(study.render(result))
    assert "the run is complete and undamaged" in console.export_text()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_is_noticed(own_run: Path, damage: Callable[[Path], str]) -> None:
    sentence = damage(own_run)
    with pytest.raises(ValueError, match=re.escape(sentence)):
        verify(own_run)


def test_a_store_is_checked_too(store: Path, tmp_path: Path) -> None:
    result = verify(store)
    assert result["kind"] == "store"
    assert json.loads(json.dumps(result)) == result
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(study.render(result))
    assert "the store is complete and undamaged" in console.export_text()
    broken = Path(shutil.copytree(store, tmp_path / "broken"))
    shard = sorted(broken.glob("*.arrow"))[0]
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    with pytest.raises(ValueError, match=shard.name):
        verify(broken)


def test_anything_else_is_neither(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neither a store"):
        verify(tmp_path)
