"""Exit code 2 for a command line that is wrong by itself, 1 where files are missing, damaged or in the way."""

import json
import shutil
from pathlib import Path

import pytest

from alexnet.cli import main
from alexnet.ranges import UsageError, values_of

WRONG = """
features RUN IMAGE out.npy --layer fc77
features RUN IMAGE out.xyz
features RUN STORE out.npy --split tset
evaluate RUN --data STORE --views 5
evaluate RUN --data STORE --split tset
evaluate RUN --data STORE --weights 1 2
evaluate RUN --data STORE --device gpu
predict RUN IMAGE --views 5
predict RUN IMAGE --panel .
predict RUN IMAGE --panel panel.doc
similar RUN IMAGE --data STORE --layer fc77
similar RUN IMAGE --data STORE --panel .
figures RUN --layer fc77
export RUN out --views 10
export RUN out --preprocess --views 5
export RUN out --to safetensors --preprocess
export RUN out.onnx
import weights.doc out
import weights.pth out --mean mean.binaryproto
bench --network papr
bench infer --store STORE
bench load --source IMAGE
bench --device gpu
describe papr
train STORE new --recipe smal
train STORE RUN --recipe small
train STORE RUN --seed 5
train STORE new --network papr
train STORE new --network.without-layers conv9 --network.input-size 51 --batch-size 6
train STORE new --network.initial-std 1 2 --network.input-size 51 --batch-size 6
train STORE new --network.input-size 8 --batch-size 6
train STORE new --schedule.changes often
train STORE new --schedule.kind epochs --network.input-size 51 --batch-size 6 --schedule.changes 1:conv9:0
train STORE new --parallel data --network.input-size 51 --batch-size 6
prepare SOURCE new --image-column x
prepare SOURCE new --val-fraction 1
prepare SOURCE new --size 5000
"""


@pytest.mark.parametrize("line", WRONG.strip().splitlines())
def test_what_no_file_could_make_right_is_wrong_usage(
    line: str, run: Path, store: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    monkeypatch.chdir(tmp_path)
    image = next(source.rglob("*.png"))
    names = {"RUN": run, "STORE": store, "SOURCE": source, "IMAGE": image}
    assert main([str(names.get(word, word)).replace(":", " ") for word in line.split()]) == 2
    assert "Traceback" not in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_that_cannot_be_is_no_wrong_usage(run: Path, tmp_path: Path, capsys) -> None:
    damaged = Path(shutil.copytree(run, tmp_path / "run"))
    for setting, value in {"width": 0, "towers": 1.5, "input_size": 8, "without_layers": ["conv9"]}.items():
        config = json.loads((run / "config.json").read_text())
        config["network"][setting] = value
        (damaged / "config.json").write_text(json.dumps(config))
        for line in (["predict", damaged, tmp_path], ["describe", damaged], ["verify", damaged]):
            assert main([str(word) for word in line if word]) == 1, (setting, line)
            if line[0] != "predict":
                assert str(damaged / "config.json") in capsys.readouterr().err


def test_an_error_of_another_kind_passes_values_of() -> None:
    with pytest.raises(KeyError), values_of("file"):
        raise KeyError
    with pytest.raises(ValueError, match="file: no") as caught, values_of("file"):
        raise UsageError("no")
    assert not isinstance(caught.value, UsageError)
