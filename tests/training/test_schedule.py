"""When the learning rate falls."""

import json

import pytest

from alexnet.config import ScheduleConfig
from alexnet.recipes import recipe
from alexnet.training.schedule import Schedule, changed, layer_rate

PLATEAU = ScheduleConfig(patience=2)


def test_given_epochs_divide_the_rate_at_their_first_step():
    config = ScheduleConfig(kind="epochs", drop_epochs=(2, 3.5))
    rates = [Schedule().learning_rate(config, 1.0, step, steps_per_epoch=10) for step in range(50)]
    assert rates == [1.0] * 20 + [0.1] * 15 + [0.01] * 15


def test_warmup_rises_evenly_and_then_stays():
    config = ScheduleConfig(kind="epochs", warmup_steps=4)
    rates = [Schedule().learning_rate(config, 0.8, step, 10) for step in range(6)]
    assert rates == [0.2, 0.4, 0.6000000000000001, 0.8, 0.8, 0.8]


def test_the_rate_falls_when_the_error_stops_improving_and_training_ends_after_the_last_drop():
    schedule = Schedule()
    errors = [0.9, 0.8, 0.8, 0.81, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7]
    fell = [schedule.observe(PLATEAU, error) for error in errors]
    assert fell == [False, False, False, True, False, False, True, False, True, False, False]
    assert schedule.learning_rate(PLATEAU, 0.01, 1000, 10) == 0.01 / 10**3
    assert schedule.finished


def test_an_improving_error_never_lets_the_rate_fall():
    schedule = Schedule()
    assert not any(schedule.observe(PLATEAU, 1 / (i + 1)) for i in range(100))
    assert schedule.learning_rate(PLATEAU, 0.01, 1000, 10) == 0.01


def test_the_state_survives_a_checkpoint():
    schedule = Schedule()
    for state in (schedule.state(), None):
        if state is None:
            schedule.observe(PLATEAU, 0.5)
            schedule.observe(PLATEAU, 0.6)
            state = schedule.state()
        assert Schedule.from_state(json.loads(json.dumps(state))) == schedule


def test_a_layer_has_its_own_rate_from_its_first_change_on_and_can_give_it_back():
    config = ScheduleConfig(kind="epochs", changes=("9 fc8 common", "0.5 fc8 0.01", "7 conv1 0", "5 conv1 1e-5"))
    rates = {
        layer: [layer_rate(config, layer, epoch, common=0.001) for epoch in (0, 0.4, 0.5, 5, 6.9, 7, 9)]
        for layer in ("conv1", "conv2", "fc8")
    }
    assert rates["conv1"] == [0.001, 0.001, 0.001, 1e-5, 1e-5, 0, 0]
    assert rates["conv2"] == [0.001] * 7
    assert rates["fc8"] == [0.001, 0.001, 0.01, 0.01, 0.01, 0.01, 0.001]


def test_the_originals_schedule_is_the_one_made_by_hand():
    """SPEC, section 2: 25, 51, 79; conv1 to 1e-5 at 67 and to 0 at 72; colour noise 0.1 to 0 at 67; the end at 91."""
    config = recipe("original")
    assert config.epochs == 91
    schedule = config.schedule

    def rate(layer: str, epoch: int) -> float:
        common = Schedule().learning_rate(schedule, config.optim.lr, epoch * 10, 10)
        return layer_rate(schedule, layer, epoch, common)

    assert [rate("conv2", e) for e in (24, 25, 51, 79, 90)] == pytest.approx([0.01, 1e-3, 1e-4, 1e-5, 1e-5])
    assert [rate("conv1", e) for e in (24, 25, 51, 66, 67, 71, 72, 90)] == pytest.approx(
        [0.01, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5, 0, 0]
    )
    assert (changed(schedule, "colour_noise", 66), changed(schedule, "colour_noise", 67)) == (None, 0)


def test_the_tuning_schedule_is_the_one_made_by_hand():
    """SPEC, section 6."""
    config = recipe("finetune")
    assert config.epochs == 54 and config.network.sixth_conv

    def rate(layer: str, epoch: float) -> float:
        common = Schedule().learning_rate(config.schedule, config.optim.lr, round(epoch * 100), 100)
        return layer_rate(config.schedule, layer, epoch, common)

    assert [rate("fc8", e) for e in (0, 0.3, 8, 9, 22, 42)] == pytest.approx([1e-3, 1e-2, 1e-2, 1e-3, 1e-4, 1e-5])
    assert [rate("conv1", e) for e in (0, 5, 7, 50)] == pytest.approx([1e-4, 1e-5, 0, 0])
    assert [rate("fc6", e) for e in (0, 22, 42)] == pytest.approx([1e-3, 1e-4, 1e-5])
    assert (changed(config.schedule, "colour_noise", 37), changed(config.schedule, "colour_noise", 38)) == (None, 0)
