"""Training: it learns, fills its run folder, follows its schedule, and says what is wrong."""

import dataclasses
import json
import re
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from noise import CROP, SIZE
from PIL import Image
from runs import assert_same_run, step_then, steps_of, weights

from alexnet import load
from alexnet.config import CheckpointConfig, NetworkConfig, OptimConfig, ScheduleConfig, load_config
from alexnet.data.classes import Class
from alexnet.data.prepare.prepare import prepare
from alexnet.data.store.reader import Store
from alexnet.files import lock
from alexnet.model.linear import Linear, deferred
from alexnet.recipes import RECIPES, recipe
from alexnet.training import checkpoint, loop
from alexnet.training.metrics import read_lines, with_interval
from alexnet.training.validation import Validation


def validation_errors(*errors: float):
    """A stand-in for `validate` that finds these top-1 errors, one after the other, and then the last one again."""
    left = list(errors)

    def validate(*_: object) -> Validation:
        error = left.pop(0) if len(left) > 1 else left[0]
        return Validation({"top1_error": error, "top5_error": 0.0, "loss": 1.0}, {})

    return validate


def test_a_run_folder_holds_what_was_promised(finished):
    names = {path.name for path in finished.iterdir()}
    small = {"config.json", "run.json", "classes.json", "mean.npy", "metrics.jsonl"}
    assert names == small | {"tensorboard", "checkpoints"}
    evaluations = [line for line in read_lines(finished / "metrics.jsonl") if "evaluation" in line]
    steps = steps_of(finished)
    assert [line["step"] for line in steps] == list(range(1, 13))
    assert all({"step", "epoch", "loss", "learning_rate"} <= line.keys() for line in steps)
    learning_rates = [line["learning_rate"] for line in steps]
    assert learning_rates == pytest.approx([0.001 / 3, 0.002 / 3, 0.001, *[0.001] * 5, *[0.0001] * 4])
    assert [line["epoch"] for line in evaluations] == [1, 2, 3]
    assert all({"top1_error", "top5_error", "loss"} <= line.keys() for line in evaluations)


def test_it_learns(noise, tmp_path, config, capsys):
    summary = loop.train(noise, tmp_path / "run", dataclasses.replace(config, epochs=15, evaluate_every=15))
    assert summary["top1_error"] < 0.2  # guessing: 0.67
    assert summary["steps"] == 60 and summary["warnings"] == []
    assert f"top-1 error {with_interval(summary['top1_error'], 12)}" in loop.render(summary)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch ")]
    assert len(lines) == 15 and re.match(r"epoch 1 of 15: training loss \d\.\d+, learning rate 0\.001$", lines[0])
    assert "best top-1 error so far" in lines[-1]


def test_the_trained_network_loads_and_knows_its_classes(finished, noise):
    network = load(finished, device="cpu")
    assert [c.name for c in network.classes] == ["blue", "green", "red"]
    assert not network.training
    image = np.full((80, 60, 3), 128, np.uint8)
    x = network.preprocess(image)
    assert x.shape == (3, CROP, CROP) and network(x[None]).shape == (1, 3)
    assert network.preprocess.ten_views(image).shape == (10, 3, CROP, CROP)
    whole = (128 - torch.from_numpy(Store(noise).mean)).permute(2, 0, 1)
    edge = (SIZE - CROP) // 2
    torch.testing.assert_close(x, whole[:, edge : edge + CROP, edge : edge + CROP])


def test_the_seed_decides(finished, noise, tmp_path, config):
    loop.train(noise, tmp_path / "again", config)
    assert_same_run(tmp_path / "again", finished)
    loop.train(noise, tmp_path / "other", dataclasses.replace(config, seed=1))
    assert not torch.equal(weights(tmp_path / "other")["conv1.weight"], weights(finished)["conv1.weight"])


def test_the_best_checkpoint_is_that_of_the_lowest_validation_error(noise, tmp_path, config):
    summary = loop.train(noise, tmp_path / "run", config, validate=validation_errors(0.5, 0.2, 0.4))
    assert (summary["best_step"], summary["top1_error"]) == (8, 0.2)
    assert [c.step for c in checkpoint.checkpoints(tmp_path / "run")] == [8, 12]


def test_the_plateau_ends_the_training(noise, tmp_path, config):
    config = dataclasses.replace(config, epochs=50, schedule=ScheduleConfig(patience=1, max_drops=1))
    run = tmp_path / "run"
    summary = loop.train(noise, run, config, validate=validation_errors(0.5))
    assert summary["epochs"] == 3  # best, drop, end
    assert [line["learning_rate"] for line in steps_of(run)] == pytest.approx([0.001] * 8 + [0.0001] * 4)
    assert checkpoint.find(run, "last").step == 12
    assert loop.train(noise, run, config)["steps"] == 12  # resumed, it is still finished


def test_a_loss_that_is_not_a_number_ends_the_training_and_names_the_layer(noise, tmp_path, config):
    exploding = dataclasses.replace(config, optim=OptimConfig(lr=1e12), schedule=ScheduleConfig(kind="epochs"))
    with pytest.raises(FloatingPointError, match=r"not a number at step \d+, .* is not finite.*--optim.lr 5e\+11"):
        loop.train(noise, tmp_path / "run", exploding)


def test_weights_that_are_not_finite_are_never_saved(noise, tmp_path, config):
    """The loss of step 7 is finite, its update is not: the checkpoint before is the last one."""

    def explode(state) -> None:
        if state.step == 7:
            with torch.no_grad():
                state.network.conv1.weight[0] = float("inf")

    config = dataclasses.replace(config, checkpoint=CheckpointConfig(every_steps=1))
    with pytest.raises(FloatingPointError, match=r"step 7, the weights conv1.weight is not finite.*step-00000006"):
        loop.train(noise, tmp_path / "run", config, step=step_then(explode))
    checkpoint.find(tmp_path / "run", "last").check()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_deferred_gradients_make_the_same_run_as_whole_ones(dtype, noise, tmp_path, config):
    config = dataclasses.replace(config, batch_size=18, dtype=dtype)
    forms = []

    def look(state) -> None:
        weight = state.network.fc6.weight
        forms.append("deferred" if deferred(weight) and weight.grad is None else "whole")

    def keep_whole(state) -> None:
        for module in state.network.modules():
            if isinstance(module, Linear):
                module.defers_weight_gradient = False

    loop.train(noise, tmp_path / "deferred", config, step=step_then(look))
    if "deferred" not in forms:
        pytest.skip("no kernels that take deferred gradients here")
    loop.train(noise, tmp_path / "whole", config, step=step_then(look, before=keep_whole))
    assert forms == ["deferred"] * 6 + ["whole"] * 6
    assert_same_run(tmp_path / "deferred", tmp_path / "whole")


def test_without_a_validation_split_it_trains_by_epochs(tmp_path, config):
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        folder = tmp_path / "source" / "train" / name
        folder.mkdir(parents=True)
        for i in range(8):
            image = Image.fromarray(random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))
            image.save(folder / f"{i}.png")
    prepare(tmp_path / "source", tmp_path / "store", size=SIZE, workers=1, val_fraction=0)
    with pytest.raises(ValueError, match=r"no validation split, which --schedule\.kind plateau needs"):
        loop.train(tmp_path / "store", tmp_path / "run", dataclasses.replace(config, schedule=ScheduleConfig()))
    summary = loop.train(tmp_path / "store", tmp_path / "run", dataclasses.replace(config, epochs=1))
    assert summary["top1_error"] is None and checkpoint.find(tmp_path / "run").step == 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"network.input_size": 64}, "takes images of 64 pixels"),
        ({"batch_size": 64}, "fewer than one batch"),
        ({"device": "tpu"}, "no device 'tpu'"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_anything_is_written(noise, tmp_path, config, change, sentence):
    if "network.input_size" in change:
        change = {"network": dataclasses.replace(config.network, input_size=change["network.input_size"])}
    with pytest.raises(ValueError, match=sentence):
        loop.train(noise, tmp_path / "run", dataclasses.replace(config, **change))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schedule": ScheduleConfig(kind="epochs", changes=("0 conv9 0",))}, "names 'conv9', which is no layer"),
        ({"start_from": "nowhere"}, "There is no run at nowhere"),
        ({"start_from": "nowhere", "network": NetworkConfig()}, "There is no run at nowhere"),
        ({"network": NetworkConfig(input_size=51, padding=(0,))}, "network.padding needs 5 numbers"),
    ],
)
def test_a_refused_training_leaves_no_run_that_refuses_the_corrected_command(noise, tmp_path, config, change, sentence):
    run = tmp_path / "run"
    with pytest.raises(ValueError, match=sentence):
        loop.train(noise, run, dataclasses.replace(config, batch_size=4, **change))
    assert not run.exists()
    assert loop.train(noise, run, dataclasses.replace(config, epochs=1))["ended"] == "epochs"


def test_a_run_that_has_more_epochs_than_wanted_ends_at_once(noise, finished, tmp_path, config):
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    summary = loop.train(noise, run, dataclasses.replace(config, epochs=2))
    assert summary["epochs"] == 3 and "all its epochs are done" in loop.render(summary)


def test_another_network_or_folder_is_refused(finished, noise, tmp_path, config):
    with pytest.raises(ValueError, match="started with batch_size 8 and this is batch_size 4"):
        loop.train(noise, finished, dataclasses.replace(config, batch_size=4))
    narrow = dataclasses.replace(config.network, width=0.5)
    with pytest.raises(ValueError, match=r"started with network\.width 0\.083\d* and this is network\.width 0\.5;"):
        loop.train(noise, finished, dataclasses.replace(config, network=narrow))
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("Dear")
    with pytest.raises(ValueError, match="not empty and holds no run"):
        loop.train(noise, tmp_path / "letters", config)


def test_a_second_training_of_the_same_run_is_refused(noise, tmp_path, config):
    run = tmp_path / "run"
    with lock.hold(run, "alexnet train"), pytest.raises(ValueError, match=r"Another alexnet train is writing .*run"):
        loop.train(noise, run, config)
    assert not run.exists()


def test_bfloat16_and_float32_learn_alike(noise, tmp_path, config):
    losses = {}
    for dtype in ("float32", "bfloat16"):
        loop.train(noise, tmp_path / dtype, dataclasses.replace(config, dtype=dtype, epochs=1))
        losses[dtype] = [line["loss"] for line in steps_of(tmp_path / dtype)]
    np.testing.assert_allclose(losses["bfloat16"], losses["float32"], rtol=0.05)


def test_training_outside_the_main_thread_works(noise, tmp_path, config):
    done = []
    thread = threading.Thread(
        target=lambda: done.append(loop.train(noise, tmp_path / "run", dataclasses.replace(config, epochs=1)))
    )
    thread.start()
    thread.join()
    assert done and json.dumps(done[0])


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in ("paper", "small", "demo")])
def test_every_recipe_trains_at_small_size(noise, tmp_path, name):
    made = recipe(name)
    config = dataclasses.replace(
        made,
        epochs=1,
        batch_size=12,
        dtype="float32",
        network=dataclasses.replace(made.network, input_size=48 if name == "cifar" else CROP, width=1 / 12),
        optim=dataclasses.replace(made.optim, lr=1e-5),
    )
    summary = loop.train(noise, tmp_path / "run", config)
    assert summary["steps"] == 3 and 0 <= summary["top1_error"] <= 1
    assert load(tmp_path / "run", device="cpu").config.recipe == name


def test_a_checkpoint_of_another_run_is_not_resumed_from(finished, noise, tmp_path, config, capsys):
    """Of two runs that differ in a setting that may change, one gets the last checkpoint of the other."""
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    loop.train(noise, tmp_path / "other", dataclasses.replace(config, optim=OptimConfig(lr=0.002)))
    last = "checkpoints/step-00000012"
    shutil.rmtree(run / last)
    shutil.copytree(tmp_path / "other" / last, run / last)
    capsys.readouterr()
    loop.train(noise, run, config)
    assert "step-00000012/state.json cannot be used (it is of another run); trying" in capsys.readouterr().err
    assert_same_run(run, finished)


def test_a_lost_identity_is_taken_from_the_checkpoints(finished, noise, tmp_path, config):
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    (run / "run.json").unlink()
    loop.train(noise, run, dataclasses.replace(config, epochs=4, optim=OptimConfig(lr=0.002)))
    assert (run / "run.json").read_bytes() == (finished / "run.json").read_bytes()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"seed": 3}, r"trained with seed 0 and this is seed 3;"),
        ({"network": {"lrn_k": 1.0}}, r"trained with network\.lrn_k 2\.0 and this is network\.lrn_k 1\.0;"),
    ],
)
def test_settings_that_were_changed_by_hand_are_refused(finished, noise, tmp_path, values, said):
    """In config.json: the command line agrees with that file, the checkpoints do not."""
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    settings = json.loads((run / "config.json").read_text())
    network = settings["network"] | values.get("network", {})
    (run / "config.json").write_text(json.dumps(settings | values | {"network": network}))
    with pytest.raises(ValueError, match=said):
        loop.train(noise, run, load_config(run / "config.json"))
    with pytest.raises(ValueError, match=said):
        load(run, device="cpu")


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((4, 4, 4), "training on 12 images of 3 classes, 4 of each\n"),
        ((4, 6, 4), "training on 14 images of 3 classes, from 4 of class 0 to 6 of class 1\n"),
        ((3, 0, 9), "from 0 of class 1 to 9 of class 2\n"),
        ((2, 9, 3), "from 2 of class 0 to 9 of class 1, 4.5 times as many: `alexnet evaluate` also shows"),
    ],
)
def test_a_training_begins_with_its_smallest_and_its_largest_class(counts: tuple[int, ...], words: str) -> None:
    labels = np.repeat(np.arange(3), counts)
    classes = [Class(f"n{n}", f"class {n}") for n in range(3)]
    store = SimpleNamespace(split=lambda _: SimpleNamespace(labels=labels), classes=classes)
    assert words in loop.start_line(store) + "\n"  # type: ignore[arg-type]
