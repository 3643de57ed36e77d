"""When the learning rate falls."""

import json

from alexnet.config import ScheduleConfig
from alexnet.training.schedule import Schedule

PLATEAU = ScheduleConfig(patience=2)


def test_given_epochs_divide_the_rate_at_their_first_step():
    config = ScheduleConfig(kind="epochs", drops=(2, 3.5))
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
