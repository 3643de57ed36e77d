"""The training loop (paper, section 5): from a store to a run folder.

What one step does is in `step.py`; what a checkpoint holds, and how a run resumes, in `state.py`.
"""

import contextlib
import functools
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from alexnet.config import TrainConfig, load_run_config
from alexnet.data import augment, loader
from alexnet.data.loader import TrainingBatch
from alexnet.data.store.reader import Store, StoreSplit
from alexnet.files import lock
from alexnet.files.folders import check_folder
from alexnet.files.printable import printable
from alexnet.files.words import counted
from alexnet.model.cpu import kernels
from alexnet.model.network import AlexNet
from alexnet.native import compiler
from alexnet.progress import Progress, duration
from alexnet.training import checkpoint, health, meeting, ranks, stop
from alexnet.training.choose_step import Step, choose_step
from alexnet.training.device import choose_device, float32_throughout
from alexnet.training.metrics import MetricsLog, with_interval
from alexnet.training.ranks import Ranks, program_checksum
from alexnet.training.run_folder import (
    await_identity,
    check_run,
    common_settings,
    fingerprint,
    fit_to_store,
    write_run,
)
from alexnet.training.schedule import augment_at, unreached
from alexnet.training.state import Setup, TrainState, save, start_or_resume
from alexnet.training.step import MOST_PENDING, Metrics
from alexnet.training.validation import Validation, validate

Validate = Callable[[AlexNet, StoreSplit, Setup, Ranks], Validation]


def train(
    store_path: Path, run: Path, config: TrainConfig, *, step: Step | None = None, validate: Validate = validate
) -> dict:
    """Train on the `train` split of a store, or resume `run`.

    The run folder receives `config.json`, `classes.json`, `mean.npy`, `metrics.jsonl`, TensorBoard events and
    checkpoints. Under torchrun every rank calls this, and `config.parallel` says how they share the work. `step` and
    `validate` are what a step and an evaluation do; step None: the fastest implementation for the device.

    Returns `run`, `epochs`, `steps`, `ended` ("epochs" done, or on a "plateau"), `top1_error` and `top5_error` of the
    best evaluation (centre view; None without a validation split), `best_step`, `seconds`, `images_per_second`,
    `validation_images`, `bytes_exchanged` (by this rank, between towers) and `warnings`.

    Raises ValueError for a store, run or setting that does not fit, a run that another process is training, or a full
    disk; KeyboardInterrupt, after a checkpoint, on Ctrl-C or SIGTERM; FloatingPointError when the loss or a weight is
    not finite.
    """
    with checkpoint.room_for(run), float32_throughout(), contextlib.ExitStack() as held:
        store, config, device = meeting.meet(lambda: _prepare(store_path, run, config))
        advice = functools.partial(resume_advice, run)
        here = held.enter_context(ranks.joined(config.parallel, device, config.batch_size, advice))
        here.once(lambda: held.enter_context(lock.hold(run, "alexnet train")))
        setup = Setup.of(config, store, device)
        here.once(lambda: check_run(run, config))
        state = here.together(lambda: start_or_resume(setup, run, here))
        here.agree({"step": str(state.step), "best step": str(state.best.best_step)})
        here.once(lambda: write_run(run, config, store))  # all that may be refused has been refused
        here.agree({"run folder": await_identity(run)})
        return _train(state, setup, store, run, here, step or choose_step(state, setup, here), validate)


def _prepare(
    store_path: Path, run: Path, config: TrainConfig
) -> tuple[tuple[Store, TrainConfig, torch.device], dict[str, str]]:
    """Store, settings and device of this rank, and what all ranks must have in common."""
    check_folder(run)
    if config.start_from and not (run / "config.json").is_file():  # a run that is resumed no longer needs the other
        load_run_config(Path(config.start_from))
    store = Store(store_path)
    config = fit_to_store(config, store)
    device = choose_device(config.device)
    if device.type == "cpu":
        kernels.reuse_memory()
        if config.compile and compiler.command() is None:
            raise ValueError("--compile needs a C++ compiler such as g++; install one, or leave --compile out.")
    ranks.check_count(config.parallel, meeting.count(), config.batch_size)
    facts = {"program": program_checksum(), "store": fingerprint(store)} if meeting.count() > 1 else {}
    return (store, config, device), facts | common_settings(config)


def resume_advice(run: Path) -> str:
    """How to go on after a rank has died."""
    return f"{checkpoint.last_in_words(run)} The same command resumes."


def _train(
    state: TrainState, setup: Setup, store: Store, run: Path, here: Ranks, step: Step, validate: Validate
) -> dict:
    """The loop, on one rank."""
    config, steps_per_epoch = setup.config, setup.steps_per_epoch
    first_step, began = state.step, time.monotonic()
    due = checkpoint.Due(config.checkpoint)
    watch = health.LossWatch(config, state.network, run, steps_per_epoch)
    images = config.batch_size * steps_per_epoch * config.epochs
    with (
        MetricsLog(run, state.step, silent=not here.is_first) as log,
        Progress(f"training {run}", images, start=state.step * config.batch_size, silent=not here.is_first) as bar,
        stop.requests() as request,
    ):
        bar.line(_resume_line(state, setup) if first_step else start_line(store))
        log.warn(unreached(config))
        pending = deque[tuple[int, Metrics]]()

        def take_note(step_number: int, done: Metrics) -> None:
            """Log what a step measured; raises FloatingPointError for a loss that is not finite."""
            loss, top1_error = here.mean([done.loss, done.top1_error])
            health.check_loss(loss, state.network, run, step_number, config.optim.lr)
            values = {"loss": loss, "learning_rate": done.learning_rate, "train_top1_error": top1_error}
            log.write(step_number, step_number / steps_per_epoch, values)
            log.warn(watch.observe(loss, top1_error))
            epoch = -(-step_number // steps_per_epoch)
            bar.advance(config.batch_size, epoch=f"{epoch}/{config.epochs}", loss=f"{loss:.3f}")

        for batch in remaining_batches(state, setup, store, here):
            pending.append((state.step + 1, step(state, batch, setup)))
            stopping, saving = here.mean([float(request.is_set()), float(due(state.step))])
            ends_epoch = state.step % steps_per_epoch == 0
            all_of_them = stopping or saving or ends_epoch or len(pending) > MOST_PENDING
            while pending and (all_of_them or pending[0][1].is_ready):
                take_note(*pending.popleft())
            if ends_epoch:
                saving = _end_epoch(state, setup, store, here, validate, log, bar) or saving
                bar.line(_epoch_line(state, setup, store, watch.mean))
            if saving or stopping:
                log.flush()
                save(state, setup, run, here)
                due.written()
            if stopping and not _is_finished(state, setup):
                raise request.stopped(f"Stopped after step {state.step}, with a checkpoint; the same command resumes.")
        log.warn(watch.end(state.best.top1_error))
    seconds = time.monotonic() - began
    return asdict(state.best) | {
        "run": str(run),
        "epochs": state.step / steps_per_epoch,
        "steps": state.step,
        "ended": "plateau" if state.schedule.finished else "epochs",
        "seconds": seconds,
        "images_per_second": (state.step - first_step) * config.batch_size / seconds,
        "validation_images": store.splits.get("val", 0),
        "bytes_exchanged": state.exchange.sent if state.exchange else 0,
        "warnings": log.warnings,
    }


def _end_epoch(
    state: TrainState, setup: Setup, store: Store, here: Ranks, validate: Validate, log: MetricsLog, bar: Progress
) -> bool:
    """Evaluate, where that is due, and tell the schedule; True when a checkpoint is due."""
    config, epoch = setup.config, state.step // setup.steps_per_epoch
    improved = False
    if "val" in store.splits and (epoch % config.evaluate_every == 0 or epoch == config.epochs):
        metrics, dead = validate(state.network, store.split("val"), setup, here)
        log.write(state.step, epoch, {"evaluation": "val"} | metrics)
        bar.advance(0, val_top1_error=f"{metrics['top1_error']:.1%}")
        improved = state.best.update(state.step, metrics)
        if state.schedule.observe(config.schedule, metrics["top1_error"]) and here.is_first:
            divisor = config.schedule.divisor
            print(f"The validation error no longer falls: learning rate / {divisor:g}.", file=sys.stderr)
        if epoch <= config.evaluate_every:
            log.warn(health.dead_warning(dead))
    return improved or _is_finished(state, setup) or epoch % config.checkpoint.every_epochs == 0


def _epoch_line(state: TrainState, setup: Setup, store: Store, loss: float | None) -> str:
    """What is worth keeping of an epoch, in words."""
    config, per_epoch, best = setup.config, setup.steps_per_epoch, state.best
    rate = state.schedule.learning_rate(config.schedule, config.optim.lr, state.step - 1, per_epoch)
    words = f"epoch {state.step // per_epoch} of {config.epochs}: training loss {loss:.3f}, learning rate {rate:.2g}"
    if best.top1_error is None:
        return words
    error = with_interval(best.top1_error, store.splits["val"])
    return f"{words}, best top-1 error so far {error}, of step {best.best_step}"


def start_line(store: Store) -> str:
    """How many images there are to train on, in all and in the smallest and the largest class."""
    counts = np.bincount(store.split("train").labels, minlength=len(store.classes))
    images = f"training on {int(counts.sum()):,} images of {len(counts):,} classes"
    few, most = int(counts.argmin()), int(counts.argmax())
    if counts[few] == counts[most]:
        return f"{images}, {counts[few]:,} of each"
    smallest, largest = (f"{counts[at]:,} of {printable(store.classes[at].name)}" for at in (few, most))
    if 0 < 2 * counts[few] <= counts[most]:
        largest += f", {counts[most] / counts[few]:.3g} times as many: `alexnet evaluate` also shows the balanced error"
    return f"{images}, from {smallest} to {largest}"


def _resume_line(state: TrainState, setup: Setup) -> str:
    """Where a run resumes, or that nothing is left of it."""
    if state.schedule.finished:
        return f"nothing is left to train: the learning rate has had its last drop before step {state.step}"
    epochs = setup.config.epochs
    steps = epochs * setup.steps_per_epoch
    if state.step >= steps:
        return f"nothing is left to train: epoch {epochs} of {epochs} is done; larger --epochs trains on"
    return f"resuming after step {state.step} of {steps}"


def _is_finished(state: TrainState, setup: Setup) -> bool:
    return state.schedule.finished or state.step >= setup.config.epochs * setup.steps_per_epoch


def remaining_batches(state: TrainState, setup: Setup, store: Store, here: Ranks) -> Iterator[TrainingBatch]:
    """This rank's part of every batch from `state` on, until the training is finished."""
    while not _is_finished(state, setup):
        epoch, start = divmod(state.step, setup.steps_per_epoch)
        yield from epoch_batches(setup, store, here, epoch, start)


def epoch_batches(setup: Setup, store: Store, here: Ranks, epoch: int, start: int = 0) -> Iterator[TrainingBatch]:
    """This rank's part of every batch of an epoch, from batch number `start` on."""
    config, split = setup.config, store.split("train")
    crop = config.network.input_size
    draws = augment.draw_epoch(augment_at(config, epoch), len(split), store.size, crop, config.seed, epoch)
    return loader.training_batches(
        split,
        draws,
        config.batch_size,
        crop,
        start=start,
        workers=config.workers,
        rows=here.part(config.batch_size),
        threads=kernels.threads(setup.device),
        pin=setup.device.type == "cuda",
    )


def render(summary: dict) -> str:
    """The summary of `train` in words."""
    why = "all its epochs are done" if summary["ended"] == "epochs" else "the validation error no longer fell"
    rate = summary["images_per_second"]
    speed = f", {duration(summary['seconds'])}, {rate:.1f} images per second" if rate else ""
    done = f"{counted(round(summary['epochs'], 2), 'epoch')}, {counted(summary['steps'], 'step')}"
    lines = [f"{summary['run']}: {done}{speed}; ended because {why}"]
    if summary["top1_error"] is not None:
        lines.append(
            f"best evaluation (step {summary['best_step']}, centre view): "
            f"top-1 error {with_interval(summary['top1_error'], summary['validation_images'])}, "
            f"top-5 error {with_interval(summary['top5_error'], summary['validation_images'])}"
        )
    return "\n".join(lines)
