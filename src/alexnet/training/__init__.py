"""The loop, the update rule, schedules, checkpoints, metrics and the signs of a training that goes wrong."""
