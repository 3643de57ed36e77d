"""The training loop (paper, section 5), from a store to a run folder."""

import contextlib
import dataclasses
import hashlib
import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from alexnet import durable, lock
from alexnet.config import TrainConfig, load_config, save_config
from alexnet.data import augment, loader
from alexnet.data.store import Store, StoreSplit
from alexnet.model import kernels
from alexnet.model.network import AlexNet
from alexnet.progress import Progress
from alexnet.training import checkpoint, health, stop
from alexnet.training.device import choose_device, choose_dtype, precision
from alexnet.training.metrics import MetricsLog, errors, top_k_credit
from alexnet.training.schedule import Schedule
from alexnet.training.update import MomentumSGD

FREE_TO_CHANGE = {"epochs", "dtype", "device", "compile", "workers", "evaluate_every"} | {
    "augment",
    "optim",
    "schedule",
    "checkpoint",
}
"""Settings that may differ when a run is continued; with any other change it would be another run."""


def train(store_path: Path, run: Path, config: TrainConfig) -> dict:
    """Train on the `train` split of a store, or continue `run` where it stopped.

    The run folder receives `config.json`, `classes.json`, `mean.npy`, `metrics.jsonl`, TensorBoard events and
    checkpoints. Returns a summary: `run`, `epochs`, `steps`, `top1_error` and `top5_error` of the best evaluation
    (centre view; None without a validation split), `best_step`, `seconds`, `pictures_per_second`, `warnings`.

    Raises ValueError for a store, run or setting that does not fit, a run that another process trains, or a full
    disk; KeyboardInterrupt, after a checkpoint, on Ctrl-C or SIGTERM; FloatingPointError when the loss is not a
    number, naming the layer and the checkpoint to go back to.
    """
    with lock.hold(run, "alexnet train"), checkpoint.room_for(run):
        return _train(store_path, run, config)


def _train(store_path: Path, run: Path, config: TrainConfig) -> dict:
    """`train`, by whoever holds the run."""
    store = Store(store_path)
    config = fit_to_store(config, store)
    device = choose_device(config.device)
    dtype = choose_dtype(config.dtype, device)
    if device.type == "cpu":
        kernels.reuse_memory()
        if config.compile and kernels.compiler() is None:
            raise ValueError("--compile needs a C++ compiler such as g++; install one, or leave --compile out.")
    open_run(run, config, store)
    split, crop = store.split("train"), config.network.input_size
    steps_per_epoch = len(split) // config.batch_size
    mean = torch.from_numpy(store.mean).to(device)

    network = AlexNet(config.network, generator=torch.Generator().manual_seed(config.seed))
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = MomentumSGD(network.parameters(), config.optim)
    schedule, step = Schedule(), 0
    best: dict[str, float | int | None] = {"best_step": None, "top1_error": None, "top5_error": None}
    if checkpoint.checkpoints(run):
        last = checkpoint.find(run, "last")
        state = last.state()
        if state["store"] != fingerprint(store):
            raise ValueError(f"{run} was trained on another store than {store_path}; continue it with its own store.")
        checkpoint.load_weights(network, last)
        for name, velocity in last.velocity().items():
            w = network.get_parameter(name)
            optimizer.state[w]["velocity"] = torch.empty_like(w).copy_(velocity)
        schedule, step = Schedule.from_state(state["schedule"]), last.step
        best = {key: state[key] for key in best}
    forward = torch.compile(network) if config.compile else network

    log = MetricsLog(run, step)
    due = checkpoint.Due(config.checkpoint)
    watch = health.LossWatch(config.network.classes, network, run)
    warnings: list[str] = []
    first_step, began = step, time.monotonic()

    def warn(sentence: str | None) -> None:
        if sentence is not None:
            warnings.append(sentence)
            print(f"warning: {sentence}", file=sys.stderr, flush=True)

    def save() -> None:
        velocity = {n: optimizer.state[w]["velocity"] for n, w in network.named_parameters() if w in optimizer.state}
        state = best | {"step": step, "epoch": step / steps_per_epoch, "schedule": schedule.state()}
        log.flush()
        if health.first_bad_layer(network) is not None:  # the update after a finite loss need not be finite
            raise FloatingPointError(not_a_number(run, network, step, config))
        checkpoint.save(run, step, network, velocity, state | {"store": fingerprint(store)})
        due.written()

    pictures = config.batch_size * steps_per_epoch * config.epochs
    with (
        contextlib.closing(log),
        Progress(f"training {run}", pictures, start=step * config.batch_size) as bar,
        stop.requests() as stop_requested,
    ):
        while step < config.epochs * steps_per_epoch and not schedule.finished:
            epoch = step // steps_per_epoch
            draws = augment.draw_epoch(config.augment, len(split), store.size, crop, config.seed, epoch)
            batches = loader.training_batches(
                split, draws, config.batch_size, crop, start=step % steps_per_epoch, workers=config.workers
            )
            for batch in batches:
                rate = schedule.learning_rate(config.schedule, config.optim.lr, step, steps_per_epoch)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                torch.manual_seed(step_seed(config.seed, step))  # dropout masks
                network.train()
                x, labels = finish(batch, mean, store.covariance, device, dtype)
                with precision(device, dtype):
                    logits = forward(x)  # [B, classes]
                loss = F.cross_entropy(logits.float(), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

                value = loss.item()
                step += 1
                if not math.isfinite(value):
                    log.flush()
                    raise FloatingPointError(not_a_number(run, network, step, config))
                error = 1 - top_k_credit(logits.detach().float().cpu(), batch.labels, 1).mean().item()
                values = {"loss": value, "learning_rate": rate, "train_top1_error": error}
                log.write(step, step / steps_per_epoch, values)
                bar.advance(len(labels), epoch=f"{epoch + 1}/{config.epochs}", loss=f"{value:.3f}")
                warn(watch.observe(value))
                if stop_requested.is_set():
                    break
                if step % steps_per_epoch and due(step):  # at the end of an epoch it is written after the evaluation
                    save()

            if step % steps_per_epoch == 0:  # else: asked to stop inside the epoch
                epoch, improved = step // steps_per_epoch, False
                at_end = epoch == config.epochs
                if "val" in store.splits and (epoch % config.evaluate_every == 0 or at_end):
                    result, dead = validate(network, store.split("val"), mean, config)
                    log.write(step, epoch, {"evaluation": "val"} | result)
                    bar.advance(0, val_top1_error=f"{result['top1_error']:.1%}")
                    improved = best["top1_error"] is None or result["top1_error"] < best["top1_error"]
                    if improved:
                        best.update(best_step=step, top1_error=result["top1_error"], top5_error=result["top5_error"])
                    if schedule.observe(config.schedule, result["top1_error"]):
                        factor = config.schedule.factor
                        print(f"The validation error no longer falls: learning rate / {factor:g}.", file=sys.stderr)
                    if epoch <= config.evaluate_every:
                        warn(health.dead_warning(dead))
                at_epoch = epoch % config.checkpoint.every_epochs == 0 or due(step)
                if improved or at_end or schedule.finished or at_epoch:
                    save()
            if stop_requested.is_set() and step < config.epochs * steps_per_epoch:
                save()
                raise stop_requested.stopped(
                    f"Stopped after step {step}, with a checkpoint; the same command continues {run}."
                )
    seconds = time.monotonic() - began
    return best | {
        "run": str(run),
        "epochs": step / steps_per_epoch,
        "steps": step,
        "seconds": seconds,
        "pictures_per_second": (step - first_step) * config.batch_size / seconds,
        "warnings": warnings,
    }


def render(summary: dict) -> str:
    """The summary of `train` in words."""
    lines = [
        f"{summary['run']}: {summary['epochs']:g} epochs, {summary['steps']} steps, "
        f"{summary['seconds'] / 60:.1f} minutes, {summary['pictures_per_second']:.1f} pictures per second"
    ]
    if summary["top1_error"] is not None:
        lines.append(
            f"best evaluation (step {summary['best_step']}, centre view): top-1 error {summary['top1_error']:.2%}, "
            f"top-5 error {summary['top5_error']:.2%}"
        )
    return "\n".join(lines)


def fit_to_store(config: TrainConfig, store: Store) -> TrainConfig:
    """The configuration with the store's number of classes. ValueError when store and settings do not fit."""
    if "train" not in store.splits:
        raise ValueError(f"{store.path} has no training split.")
    if config.network.input_size > store.size:
        raise ValueError(
            f"The network takes pictures of {config.network.input_size} pixels but {store.path} holds pictures of "
            f"{store.size}; set --network.input-size, or prepare with a larger --size."
        )
    if store.splits["train"] < config.batch_size:
        raise ValueError(
            f"{store.path} has {store.splits['train']} training pictures, fewer than one batch of "
            f"{config.batch_size}; use a smaller --batch-size."
        )
    if config.schedule.kind == "plateau" and "val" not in store.splits:
        raise ValueError(
            f"{store.path} has no validation split, which --schedule.kind plateau needs; prepare it with "
            "--val-fraction, or use --schedule.kind epochs --schedule.drops ..."
        )
    network = dataclasses.replace(config.network, classes=len(store.classes))
    return dataclasses.replace(config, network=network)


def open_run(run: Path, config: TrainConfig, store: Store) -> None:
    """Make the run folder, or check that `config` may continue the one that is there; write its small files."""
    path = run / "config.json"
    if path.exists():
        before = load_config(path)
        for field in dataclasses.fields(TrainConfig):
            old, new = getattr(before, field.name), getattr(config, field.name)
            if field.name not in FREE_TO_CHANGE and old != new:
                raise ValueError(
                    f"{run} was started with another setting of {field.name}; leave it as it was to continue, "
                    "or choose another run folder."
                )
    elif run.exists() and any(not path.name.startswith(durable.NEW) for path in run.iterdir()):
        raise ValueError(f"{run} is not empty and holds no run; choose another folder.")
    run.mkdir(parents=True, exist_ok=True)
    with durable.whole(path) as file:  # first: without it the folder is no run, and could not be continued
        save_config(config, file)
    with durable.whole(run / "mean.npy") as file:
        np.save(file, store.mean)
    classes = [[c.wnid, c.name] for c in store.classes]
    with durable.whole(run / "classes.json") as file:
        file.write_text(json.dumps(classes, indent=1) + "\n", encoding="utf-8")


def fingerprint(store: Store) -> str:
    """A checksum of the store's contents, from the checksums of its shards."""
    sums = "".join(shard["sha256"] for shard in store.info["shards"])
    return hashlib.sha256(sums.encode()).hexdigest()


def step_seed(seed: int, step: int) -> int:
    """The seed of everything random inside the network at `step`: a continued run draws the same masks."""
    return int(np.random.SeedSequence([seed, 1, step]).generate_state(1, np.uint64)[0]) >> 1


def finish(
    batch: loader.Batch, mean: Tensor, covariance: np.ndarray, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Bring a batch to the device as bytes and finish it there: [B, 3, crop, crop] of `dtype`, labels [B]."""
    shift = torch.from_numpy(augment.colour_shift(batch.colour, covariance)).to(device)
    patches = batch.patches.to(device, non_blocking=True)
    x = augment.remove_mean(patches, mean, batch.offsets, batch.mirrored, shift, dtype)
    return x, batch.labels.to(device, non_blocking=True)


@torch.no_grad()
def validate(
    network: AlexNet, split: StoreSplit, mean: Tensor, config: TrainConfig
) -> tuple[dict[str, float], dict[str, float]]:
    """Errors and loss on the centre view of every picture, and the share of dead units per layer."""
    network.eval()
    crop, credit, loss, dead = config.network.input_size, {1: 0.0, 5: 0.0}, 0.0, {}
    for pictures, labels, first in loader.in_order(split, config.batch_size, config.workers):
        x = augment.centre_view(augment.subtract_mean(pictures.to(mean.device), mean), crop)
        with precision(mean.device, choose_dtype(config.dtype, mean.device)):
            if first == 0:
                dead = health.dead_units(network, x)
            logits = network(x).float().cpu()
        loss += F.cross_entropy(logits, labels, reduction="sum").item()
        for k in credit:
            credit[k] += top_k_credit(logits, labels, k).sum().item()
    return errors(credit, len(split)) | {"loss": loss / len(split)}, dead


def not_a_number(run: Path, network: AlexNet, step: int, config: TrainConfig) -> str:
    """The sentence about a loss that is not a number."""
    where = health.first_bad_layer(network)
    return (
        f"The loss is not a number at step {step}"
        + (f"; {where} is not finite" if where else "")
        + f". {checkpoint.way_back(run)}: run the same command with --optim.lr {config.optim.lr / 2:g} or "
        "--schedule.warmup-steps 500."
    )
