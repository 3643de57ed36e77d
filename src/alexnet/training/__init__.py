"""Training: the loop, one step, the update, the learning rate, checkpoints and metrics."""
