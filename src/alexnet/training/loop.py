"""The training loop (paper, section 5), from a store to a run folder."""

import contextlib
import dataclasses
import math
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from alexnet.config import COLOUR_NOISE, TrainConfig
from alexnet.data import augment, loader
from alexnet.data.store.reader import Store, StoreSplit
from alexnet.files import lock
from alexnet.model.cpu import kernels
from alexnet.model.input import views
from alexnet.model.linear import keep_factors
from alexnet.model.network import AlexNet
from alexnet.model.towers import own_part, whole_values
from alexnet.native import compiler
from alexnet.progress import Progress
from alexnet.training import checkpoint, health, ranks, stop
from alexnet.training.device import choose_device, choose_dtype, precision
from alexnet.training.feed import finish
from alexnet.training.metrics import MetricsLog, errors, top_k_credit
from alexnet.training.ranks import Ranks, program_checksum
from alexnet.training.run_folder import fingerprint, fit_to_store, open_run, settings
from alexnet.training.schedule import Schedule, changed, layer_rate
from alexnet.training.start import build, load_into, start_from
from alexnet.training.update import MomentumSGD


def train(store_path: Path, run: Path, config: TrainConfig) -> dict:
    """Train on the `train` split of a store, or continue `run` where it stopped.

    The run folder receives `config.json`, `classes.json`, `mean.npy`, `metrics.jsonl`, TensorBoard events and
    checkpoints. Under torchrun every rank calls this, and `config.parallel` says how they share the work. Returns a
    summary: `run`, `epochs`, `steps`, `top1_error` and `top5_error` of the best evaluation (centre view; None without
    a validation split), `best_step`, `seconds`, `images_per_second`, `warnings`.

    Raises ValueError for a store, run or setting that does not fit, a run that another process trains, or a full
    disk; KeyboardInterrupt, after a checkpoint, on Ctrl-C or SIGTERM; FloatingPointError when the loss is not a
    number, naming the layer and the checkpoint to go back to.
    """
    with checkpoint.room_for(run):
        return _train(store_path, run, config)


def _train(store_path: Path, run: Path, config: TrainConfig) -> dict:
    store = Store(store_path)
    config = fit_to_store(config, store)
    device = choose_device(config.device)
    if device.type == "cpu":
        kernels.reuse_memory()
        if config.compile and compiler.command() is None:
            raise ValueError("--compile needs a C++ compiler such as g++; install one, or leave --compile out.")
    with ranks.joined(config.parallel, device, config.batch_size) as here, contextlib.ExitStack() as held:
        here.once(lambda: held.enter_context(lock.hold(run, "alexnet train")))
        return train_on(here, store, run, config, device)


def train_on(here: Ranks, store: Store, run: Path, config: TrainConfig, device: torch.device) -> dict:
    """What one rank does of `train`."""
    here.agree({"program": program_checksum(), "store": fingerprint(store), "setting": settings(config)})
    here.once(lambda: open_run(run, config, store))
    dtype = choose_dtype(config.dtype, device)
    split, crop = store.split("train"), config.network.input_size
    steps_per_epoch = len(split) // config.batch_size
    rows = here.part(config.batch_size)
    mean = torch.from_numpy(store.mean).to(device)

    network, exchange = build(here, config, device)
    optimizer = MomentumSGD(network.named_parameters(), config.optim)
    schedule, step = Schedule(), 0
    best: dict[str, float | int | None] = {"best_step": None, "top1_error": None, "top5_error": None}
    if checkpoint.checkpoints(run):
        last = checkpoint.find(run, "last")
        state = last.state()
        if state["store"] != fingerprint(store):
            raise ValueError(f"{run} was trained on another store than {store.path}; continue it with its own store.")
        load_into(network, exchange, last.weights(), f"{last.path} does not fit the network of its config.json")
        for name, velocity in last.velocity().items():
            w = network.get_parameter(name)
            optimizer.state[w]["velocity"] = torch.empty_like(w).copy_(own_part(network, name, velocity, exchange))
        schedule, step = Schedule.from_state(state["schedule"]), last.step
        best = {key: state[key] for key in best}
    elif config.start_from:
        start_from(network, exchange, Path(config.start_from))
    forward = torch.compile(network) if config.compile else network
    if here.copies is None and not config.compile:
        keep_factors(network)
    if here.copies is not None:
        forward = DistributedDataParallel(forward, process_group=here.copies)

    log = MetricsLog(run, step) if here.is_first else None
    due = checkpoint.Due(config.checkpoint)
    watch = health.LossWatch(config.network.classes, network, run)
    warnings: list[str] = []
    first_step, began = step, time.monotonic()

    def warn(sentence: str | None) -> None:
        if sentence is not None and here.is_first:
            warnings.append(sentence)
            print(f"warning: {sentence}", file=sys.stderr, flush=True)

    def save() -> None:
        due.written()
        if here.replica > 0:
            return
        velocity = [(n, optimizer.state[w]["velocity"]) for n, w in network.named_parameters() if w in optimizer.state]
        weights = whole_values(network, network.state_dict().items(), exchange)
        velocities = whole_values(network, velocity, exchange)
        if health.first_bad_layer(network) is not None:  # the update after a finite loss need not be finite
            raise FloatingPointError(not_a_number(run, network, step, config))
        if log is not None:
            log.flush()
            state = best | {"step": step, "epoch": step / steps_per_epoch, "schedule": schedule.state()}
            checkpoint.save(run, step, weights, velocities, state | {"store": fingerprint(store)})

    images = config.batch_size * steps_per_epoch * config.epochs
    with (
        contextlib.closing(log) if log else contextlib.nullcontext(),
        Progress(f"training {run}", images, start=step * config.batch_size, silent=not here.is_first) as bar,
        stop.requests() as stop_requested,
    ):
        while step < config.epochs * steps_per_epoch and not schedule.finished:
            epoch, stopping, saving = step // steps_per_epoch, 0.0, 0.0
            noise = changed(config.schedule, COLOUR_NOISE, epoch)
            augmented = config.augment if noise is None else dataclasses.replace(config.augment, colour_noise=noise)
            draws = augment.draw_epoch(augmented, len(split), store.size, crop, config.seed, epoch)
            batches = loader.training_batches(
                split,
                draws,
                config.batch_size,
                crop,
                start=step % steps_per_epoch,
                workers=config.workers,
                rows=rows,
                threads=kernels.threads(device),
            )
            for batch in batches:
                rate = schedule.learning_rate(config.schedule, config.optim.lr, step, steps_per_epoch)
                optimizer.set_rates(partial(layer_rate, config.schedule, epoch=step / steps_per_epoch, common=rate))
                torch.manual_seed(step_seed(config.seed, step))  # dropout masks
                network.train()
                x, labels = finish(batch, mean, store.covariance, augmented, device, dtype)
                with precision(device, dtype):
                    logits = forward(x)  # [B, classes]
                loss = F.cross_entropy(logits.float(), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

                error = 1 - top_k_credit(logits.detach().float().cpu(), batch.labels, 1).mean().item()
                step += 1
                asked = [stop_requested.is_set(), due(step)]
                value, error, stopping, saving = here.mean([loss.item(), error, *map(float, asked)])
                if not math.isfinite(value):
                    if log is not None:
                        log.flush()
                    raise FloatingPointError(not_a_number(run, network, step, config))
                if log is not None:
                    log.write(
                        step,
                        step / steps_per_epoch,
                        {"loss": value, "learning_rate": rate, "train_top1_error": error},
                    )
                bar.advance(config.batch_size, epoch=f"{epoch + 1}/{config.epochs}", loss=f"{value:.3f}")
                warn(watch.observe(value))
                if here.count == 1:  # several ranks stop together, which may be a step later
                    stopping = stop_requested.is_set()
                if stopping:
                    break
                if step % steps_per_epoch and saving:  # at the end of an epoch it is written after the evaluation
                    save()

            if step % steps_per_epoch == 0:  # else: asked to stop inside the epoch
                epoch, improved = step // steps_per_epoch, False
                at_end = epoch == config.epochs
                if "val" in store.splits and (epoch % config.evaluate_every == 0 or at_end):
                    result, dead = validate(network, store.split("val"), mean, config, here)
                    if log is not None:
                        log.write(step, epoch, {"evaluation": "val"} | result)
                    bar.advance(0, val_top1_error=f"{result['top1_error']:.1%}")
                    improved = best["top1_error"] is None or result["top1_error"] < best["top1_error"]
                    if improved:
                        best.update(best_step=step, top1_error=result["top1_error"], top5_error=result["top5_error"])
                    if schedule.observe(config.schedule, result["top1_error"]) and here.is_first:
                        factor = config.schedule.divisor
                        print(f"The validation error no longer falls: learning rate / {factor:g}.", file=sys.stderr)
                    if epoch <= config.evaluate_every:
                        warn(health.dead_warning(dead))
                if improved or at_end or schedule.finished or saving or epoch % config.checkpoint.every_epochs == 0:
                    save()
            if stopping and step < config.epochs * steps_per_epoch:
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
        "images_per_second": (step - first_step) * config.batch_size / seconds,
        "bytes_exchanged": exchange.sent if exchange else 0,
        "warnings": warnings,
    }


def render(summary: dict) -> str:
    """The summary of `train` in words."""
    lines = [
        f"{summary['run']}: {summary['epochs']:g} epochs, {summary['steps']} steps, "
        f"{summary['seconds'] / 60:.1f} minutes, {summary['images_per_second']:.1f} images per second"
    ]
    if summary["top1_error"] is not None:
        lines.append(
            f"best evaluation (step {summary['best_step']}, centre view): top-1 error {summary['top1_error']:.2%}, "
            f"top-5 error {summary['top5_error']:.2%}"
        )
    return "\n".join(lines)


def step_seed(seed: int, step: int) -> int:
    """The seed of everything random inside the network at `step`: a continued run draws the same masks."""
    return int(np.random.SeedSequence([seed, 1, step]).generate_state(1, np.uint64)[0]) >> 1


@torch.no_grad()
def validate(
    network: AlexNet, split: StoreSplit, mean: Tensor, config: TrainConfig, here: Ranks
) -> tuple[dict[str, float], dict[str, float]]:
    """Errors and loss on the centre view of every image, and the share of dead units per layer.

    Each rank sees its part of the images; the numbers are those of all.
    """
    network.eval()
    crop, sums, dead = config.network.input_size, {"top1": 0.0, "top5": 0.0, "loss": 0.0}, {}
    rows = here.part(len(split))
    threads = kernels.threads(mean.device)
    for images, labels, first in loader.in_order(split, config.batch_size, config.workers, rows, threads):
        x = views(images.to(mean.device), mean, crop, 1)[:, 0]
        with precision(mean.device, choose_dtype(config.dtype, mean.device)):
            if first == rows.start:
                dead = health.dead_units(network, x)
            logits = network(x).float().cpu()
        sums["loss"] += F.cross_entropy(logits, labels, reduction="sum").item()
        for k in (1, 5):
            sums[f"top{k}"] += top_k_credit(logits, labels, k).sum().item()
    top1, top5, loss = (mean * here.replicas for mean in here.mean(list(sums.values())))
    dead = dict(zip(dead, here.mean(list(dead.values())), strict=True))
    return errors({1: top1, 5: top5}, len(split)) | {"loss": loss / len(split)}, dead


def not_a_number(run: Path, network: AlexNet, step: int, config: TrainConfig) -> str:
    """The sentence about a loss that is not a number."""
    where = health.first_bad_layer(network)
    return (
        f"The loss is not a number at step {step}"
        + (f"; {where} is not finite" if where else "")
        + f". {checkpoint.way_back(run)}: run the same command with --optim.lr {config.optim.lr / 2:g} or "
        "--schedule.warmup-steps 500."
    )
