"""When the learning rate drops."""

import dataclasses
import json

import pytest

from alexnet.config import ScheduleConfig
from alexnet.recipes import recipe
from alexnet.training.schedule import Schedule, augment_at, check_targets, layer_learning_rate, unreached

PLATEAU = ScheduleConfig(patience=2)


def test_the_learning_rate_drops_at_the_first_step_of_the_given_epochs():
    config = ScheduleConfig(kind="epochs", drop_epochs=(2, 3.5))
    learning_rates = [Schedule().learning_rate(config, 1.0, step, steps_per_epoch=10) for step in range(50)]
    assert learning_rates == [1.0] * 20 + [0.1] * 15 + [0.01] * 15


def test_warmup_rises_linearly_and_then_stays():
    config = ScheduleConfig(kind="epochs", warmup_steps=4)
    learning_rates = [Schedule().learning_rate(config, 0.8, step, 10) for step in range(6)]
    assert learning_rates == [0.2, 0.4, 0.6000000000000001, 0.8, 0.8, 0.8]


def test_the_learning_rate_drops_on_plateaus_and_training_ends_after_the_last_drop():
    schedule = Schedule()
    errors = [0.9, 0.8, 0.8, 0.81, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7]
    fell = [schedule.observe(PLATEAU, error) for error in errors]
    assert fell == [False, False, False, True, False, False, True, False, True, False, False]
    assert schedule.learning_rate(PLATEAU, 0.01, 1000, 10) == 0.01 / 10**3
    assert schedule.finished


def test_while_the_error_improves_the_learning_rate_stays():
    schedule = Schedule()
    assert not any(schedule.observe(PLATEAU, 1 / (i + 1)) for i in range(100))
    assert schedule.learning_rate(PLATEAU, 0.01, 1000, 10) == 0.01


def test_the_state_survives_a_checkpoint():
    schedule = Schedule()
    for errors in ([], [0.5, 0.6]):
        for error in errors:
            schedule.observe(PLATEAU, error)
        assert Schedule.from_json(json.loads(json.dumps(schedule.to_json()))) == schedule


def test_a_layer_has_its_own_learning_rate_between_its_changes():
    config = ScheduleConfig(kind="epochs", changes=("9 fc8 common", "0.5 fc8 0.01", "7 conv1 0", "5 conv1 1e-5"))
    learning_rates = {
        layer: [layer_learning_rate(config, layer, epoch, common=0.001) for epoch in (0, 0.4, 0.5, 5, 6.9, 7, 9)]
        for layer in ("conv1", "conv2", "fc8")
    }
    assert learning_rates["conv1"] == [0.001, 0.001, 0.001, 1e-5, 1e-5, 0, 0]
    assert learning_rates["conv2"] == [0.001] * 7
    assert learning_rates["fc8"] == [0.001, 0.001, 0.01, 0.01, 0.01, 0.01, 0.001]


def test_the_originals_schedule_is_the_one_made_by_hand():
    """docs/specification.md, "The update"."""
    config = recipe("original")
    assert config.epochs == 91
    schedule = config.schedule

    def learning_rate(layer: str, epoch: int) -> float:
        common = Schedule().learning_rate(schedule, config.optim.lr, epoch * 10, 10)
        return layer_learning_rate(schedule, layer, epoch, common)

    assert [learning_rate("conv2", e) for e in (24, 25, 51, 79, 90)] == pytest.approx([0.01, 1e-3, 1e-4, 1e-5, 1e-5])
    assert [learning_rate("conv1", e) for e in (24, 25, 51, 66, 67, 71, 72, 90)] == pytest.approx(
        [0.01, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5, 0, 0]
    )
    assert (augment_at(config, 66).colour_noise, augment_at(config, 67).colour_noise) == (0.1, 0)


def test_the_finetuning_schedule_is_the_one_made_by_hand():
    """docs/specification.md, "The bigger network"."""
    config = recipe("finetune")
    assert config.epochs == 54 and config.network.sixth_conv

    def learning_rate(layer: str, epoch: float) -> float:
        common = Schedule().learning_rate(config.schedule, config.optim.lr, round(epoch * 100), 100)
        return layer_learning_rate(config.schedule, layer, epoch, common)

    assert [learning_rate("fc8", e) for e in (0, 0.3, 8, 9, 22, 42)] == pytest.approx(
        [1e-3, 1e-2, 1e-2, 1e-3, 1e-4, 1e-5]
    )
    assert [learning_rate("conv1", e) for e in (0, 5, 7, 50)] == pytest.approx([1e-4, 1e-5, 0, 0])
    assert [learning_rate("fc6", e) for e in (0, 22, 42)] == pytest.approx([1e-3, 1e-4, 1e-5])
    assert (augment_at(config, 37).colour_noise, augment_at(config, 38).colour_noise) == (0.1, 0)


def test_a_change_names_a_layer_with_weights_or_colour_noise():
    check_targets(ScheduleConfig(changes=("0 conv1 0", "1 colour_noise 0")), {"conv1", "fc8"})
    for target in ("conv9", "relu3"):
        with pytest.raises(ValueError, match=f"names '{target}', which is no layer"):
            check_targets(ScheduleConfig(changes=(f"0 {target} 0",)), {"conv1", "fc8"})


def test_drops_and_changes_that_the_epochs_never_reach_are_named():
    original = recipe("original")
    assert unreached(original) is None
    sentence = unreached(dataclasses.replace(original, epochs=51))
    assert sentence and "after 51 epochs" in sentence
    assert "after epoch 51, 79" in sentence and "'72 conv1 0'" in sentence and "25" not in sentence
    assert unreached(dataclasses.replace(recipe("small", epochs=5), epochs=6)) is None
