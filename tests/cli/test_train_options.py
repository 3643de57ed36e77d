"""The options of `train`: recipes, networks and runs give the defaults."""

import dataclasses
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from noise import noise_store
from one_line import one_line

from alexnet.cli import COMMANDS, main
from alexnet.cli.train_options import parse_train
from alexnet.config import NetworkConfig, ScheduleConfig, TrainConfig, save_config
from alexnet.networks import NETWORKS
from alexnet.recipes import RECIPES, recipe

Streams = pytest.CaptureFixture[str]


def settings(*options: str) -> TrainConfig:
    return parse_train(COMMANDS["train"], [*options]).call.keywords["config"]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_gives_the_defaults_and_options_go_over_them(name: str, tmp_path: Path) -> None:
    line = [str(tmp_path / "store"), str(tmp_path / "run"), "--recipe", name]
    assert settings(*line) == recipe(name)
    changed = settings(*line, "--optim.lr", "0.125", "--epochs", "3", "--batch-size", "7", "--network.width", "0.5")
    assert (changed.optim.lr, changed.epochs, changed.batch_size, changed.network.width) == (0.125, 3, 7, 0.5)
    back = dataclasses.replace(
        changed,
        epochs=recipe(name).epochs,
        batch_size=recipe(name).batch_size,
        optim=dataclasses.replace(changed.optim, lr=recipe(name).optim.lr),
        network=dataclasses.replace(changed.network, width=recipe(name).network.width),
        schedule=recipe(name).schedule,
    )
    assert changed.schedule == recipe(name, epochs=3).schedule
    assert back == recipe(name)


def test_every_setting_is_an_option(tmp_path: Path, capsys: Streams) -> None:
    main(["train", "--help"])
    shown = capsys.readouterr().out

    def check(cls: Any, prefix: str) -> None:
        for field in dataclasses.fields(cls):
            if dataclasses.is_dataclass(field.type):
                check(field.type, f"{prefix}{field.name}.")
            else:
                assert f"--{prefix}{field.name}".replace("_", "-") in shown

    check(TrainConfig, "")


def test_the_settings_of_a_run_are_the_defaults_for_resuming_it(tmp_path: Path, capsys: Streams) -> None:
    line = [str(tmp_path / "store"), str(tmp_path)]
    started = dataclasses.replace(recipe("paper"), seed=17, epochs=4)
    save_config(started, tmp_path / "config.json")
    assert settings(*line) == started
    assert settings(*line, "--epochs", "5") == dataclasses.replace(started, epochs=5)
    other = dataclasses.replace(started, recipe="another")
    save_config(other, tmp_path / "config.json")
    assert main(["train", *line, "--recipe", "paper"]) == 2
    assert str(tmp_path) in one_line(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--network", "half"], {"network": NETWORKS["half"].config}),
        (["--recipe", "small", "--network=original", "--network.width", "0.5"], {"network.width": 0.5}),
        (["--from", "runs/a"], {"start_from": "runs/a"}),
        (["--checkpoint-every", "500"], {"checkpoint.every_steps": 500}),
        (["--checkpoint-every=2.5m"], {"checkpoint.every_minutes": 2.5}),
        (["--schedule.changes", "0 conv1 0", "9 fc8 common"], {"schedule.changes": ("0 conv1 0", "9 fc8 common")}),
    ],
)
def test_short_options_of_train_mean_settings(words, expected, tmp_path):
    config = settings(str(tmp_path / "store"), str(tmp_path / "run"), *words)
    for name, value in expected.items():
        found = config
        for part in name.split("."):
            found = getattr(found, part)
        assert found == value


def test_an_unknown_network_is_refused_with_the_nearest(tmp_path, capsys):
    assert main(["train", str(tmp_path / "s"), str(tmp_path / "r"), "--network", "orignal"]) == 2
    assert "did you mean 'original'" in capsys.readouterr().err


def test_a_misspelt_setting_is_put_right(tmp_path: Path, capsys: Streams) -> None:
    assert main(["train", str(tmp_path / "store"), str(tmp_path / "run"), "--optim.rl", "0.1"]) == 2
    assert "--optim.lr" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--recipe", "papier"], "papier"),
        (["--recipe=papier"], "papier"),
        (["--epochs", "0"], "epochs"),
        (["--network.width", "0"], "network.width is 0.0; it must be more than 0"),
        (["--optim.lr", "nan"], "optim.lr is nan"),
        (["--seed", "-1"], "seed is -1"),
    ],
)
def test_a_setting_that_is_not_allowed_is_wrong_usage(
    options: list[str], named: str, tmp_path: Path, capsys: Streams
) -> None:
    assert main(["train", str(tmp_path / "store"), str(tmp_path / "run"), *options]) == 2
    assert named in one_line(capsys.readouterr().err)


def test_the_small_recipe_adapts_to_epochs_and_to_the_store(tmp_path: Path) -> None:
    store = noise_store(tmp_path / "few", train=30, val=1)  # 90 images: one step per epoch
    line = [str(store), str(tmp_path / "run"), "--recipe", "small"]
    assert settings(*line).epochs == 900
    assert settings(*line, "--epochs", "20") == recipe("small", epochs=20)
    assert settings(*line, "--epochs=20", "--schedule.drop-epochs", "3").schedule.drop_epochs == (3,)


def test_the_drops_of_a_resumed_small_run_move_with_its_epochs(tmp_path: Path) -> None:
    save_config(recipe("small"), tmp_path / "config.json")
    line = [str(tmp_path / "store"), str(tmp_path), "--epochs", "80"]
    assert settings(*line) == recipe("small", epochs=80)
    by_hand = dataclasses.replace(recipe("small"), schedule=ScheduleConfig(kind="epochs", drop_epochs=(7,)))
    save_config(by_hand, tmp_path / "config.json")
    assert settings(*line).schedule.drop_epochs == (7,)


def changed(setting: dataclasses.Field) -> Any:
    """Another value that a setting of a network may have."""
    value: Any = setting.default
    if get_origin(hint := get_type_hints(NetworkConfig)[setting.name]) is Literal:
        return next(each for each in get_args(hint) if each != value)
    if isinstance(value, tuple):
        return ("conv4",) if setting.name == "without_layers" else tuple(each + 1 for each in value)
    if setting.name in ("towers", "dropout"):  # which cannot be doubled
        return type(value)(value / 2)
    return not value if isinstance(value, bool) else value * 2 if value else 1


@pytest.mark.parametrize("option", ["--from", "--start-from"])
def test_fine_tuning_takes_every_setting_of_the_network_of_the_run(tmp_path: Path, option: str) -> None:
    settings_of_it = {each.name: changed(each) for each in dataclasses.fields(NetworkConfig) if each.name != "classes"}
    network = NetworkConfig(**settings_of_it)
    save_config(dataclasses.replace(recipe("paper"), network=network), tmp_path / "config.json")
    found = settings("store", "run", "--recipe", "small", option, str(tmp_path)).network
    assert found == network
    assert not any(getattr(found, name) == getattr(NetworkConfig(), name) for name in settings_of_it)


def test_fine_tuning_may_name_another_network(tmp_path: Path) -> None:
    network = dataclasses.replace(NETWORKS["half"].config, input_size=112, classes=7)
    save_config(dataclasses.replace(recipe("paper"), network=network), tmp_path / "config.json")
    line = ["store", "run", "--recipe", "small", "--from", str(tmp_path)]
    assert settings(*line).network == dataclasses.replace(network, classes=1000)
    assert settings(*line, "--network.width", "0.25").network.width == 0.25
    assert settings(*line, "--network", "caffe").network == NETWORKS["caffe"].config
