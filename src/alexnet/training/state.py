"""The state of a training: what changes from step to step, what a checkpoint holds of it, and how a run resumes.

| file of a checkpoint | holds |
|---|---|
| `weights.safetensors` | the parameters of the whole network, under plain names |
| `velocity.safetensors` | their velocity, under the same names |
| `state.json` | `step`, `epoch`, `schedule`, the best evaluation (`best_step`, `top1_error`, `top5_error`) |
| | and what the checkpoint belongs to: `store`, `run`, `settings` |

The folder on disk is `alexnet.training.checkpoint`'s.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from alexnet.config import TrainConfig
from alexnet.data.store.reader import Store
from alexnet.model.linear import defer_weight_gradients
from alexnet.model.network import AlexNet
from alexnet.model.towers import Exchange, own_part, share_dropout, split_towers, whole_values
from alexnet.ranges import UsageError
from alexnet.training import checkpoint, health, identity
from alexnet.training.checkpoint_file import Checkpoint
from alexnet.training.device import choose_dtype
from alexnet.training.ranks import Ranks
from alexnet.training.run_folder import check_settings, fingerprint, fixed_settings
from alexnet.training.schedule import Schedule, check_targets
from alexnet.training.update import MomentumSGD


@dataclass(frozen=True)
class Setup:
    """What stays the same during a training."""

    config: TrainConfig
    device: torch.device
    dtype: torch.dtype
    """Number format of activations and matrix multiplications."""
    mean: Tensor
    """The store's mean image, float32 [S, S, 3], on the device."""
    covariance: np.ndarray
    """The store's RGB covariance, float64 [3, 3]."""
    steps_per_epoch: int
    store: str
    """Fingerprint of the store."""

    @classmethod
    def of(cls, config: TrainConfig, store: Store, device: torch.device, dtype: torch.dtype | None = None) -> "Setup":
        """The setup of a training on the `train` split of `store`; `dtype` None: the configuration's."""
        return cls(
            config=config,
            device=device,
            dtype=dtype or choose_dtype(config.dtype, device),
            mean=torch.from_numpy(store.mean).to(device),
            covariance=store.covariance,
            steps_per_epoch=len(store.split("train")) // config.batch_size,
            store=fingerprint(store),
        )


@dataclass
class Best:
    """The evaluation with the lowest top-1 error so far; None before the first one."""

    best_step: int | None = None
    top1_error: float | None = None
    top5_error: float | None = None

    def update(self, step: int, errors: dict[str, float]) -> bool:
        """Take note of an evaluation; True when it is the best so far."""
        if self.top1_error is not None and errors["top1_error"] >= self.top1_error:
            return False
        self.best_step, self.top1_error, self.top5_error = step, errors["top1_error"], errors["top5_error"]
        return True


@dataclass
class TrainState:
    """What changes from step to step."""

    network: AlexNet
    """Holds the weights: the whole network, or this rank's tower of it."""
    model: nn.Module
    """What a step calls: `network`, compiled or under DistributedDataParallel where asked for."""
    optimizer: MomentumSGD
    """Holds the velocity."""
    exchange: Exchange | None = None
    """The link to the other tower's rank; None where this rank has the whole network."""
    schedule: Schedule = field(default_factory=Schedule)
    best: Best = field(default_factory=Best)
    step: int = 0
    """Steps done."""


def start_or_resume(setup: Setup, run: Path, here: Ranks) -> TrainState:
    """The state of `run`'s last checkpoint; without one, the state at step 0.

    Raises ValueError for a run that was trained on another store, and for weights that do not fit the network.
    """
    state = start(setup.config, setup.device, here)
    if checkpoint.checkpoints(run):
        _resume(state, checkpoint.find(run, "last"), setup)
    elif setup.config.start_from:
        _load_all_but_last_layer(state, Path(setup.config.start_from))
    return state


def start(config: TrainConfig, device: torch.device, here: Ranks) -> TrainState:
    """The state at step 0, with initial weights and no velocity."""
    network, exchange = build(config, device, here)
    return TrainState(
        network, parallel_model(network, config, here), MomentumSGD(network.named_parameters(), config.optim), exchange
    )


def build(config: TrainConfig, device: torch.device, here: Ranks) -> tuple[AlexNet, Exchange | None]:
    """The network with its initial weights, or this rank's tower of it, on its device.

    Raises ValueError for towers with --compile, and for `schedule.changes` that name no layer.
    """
    network = AlexNet(config.network, generator=torch.Generator().manual_seed(config.seed))
    check_targets(config.schedule, {layer.name for layer in network.layers if layer.weight_shape})
    exchange = None
    if here.towers is not None:
        assert here.tower is not None
        if config.compile:
            raise UsageError("--compile does not work with towers: they exchange activations within the network.")
        exchange = split_towers(network, here.tower, here.towers)
    if here.count > 1:
        share_dropout(network, config.batch_size, here.part(config.batch_size).start, here.tower)
    return network.to(device=device, memory_format=torch.channels_last), exchange  # type: ignore[call-overload]


def parallel_model(network: AlexNet, config: TrainConfig, here: Ranks) -> nn.Module:
    """What a step calls: the network, compiled or under DistributedDataParallel where asked for."""
    model: nn.Module = torch.compile(network) if config.compile else network  # type: ignore[assignment]
    if here.copies is not None:
        return DistributedDataParallel(model, process_group=here.copies)
    if not config.compile:
        defer_weight_gradients(network)
    return model


def save(state: TrainState, setup: Setup, run: Path, here: Ranks) -> None:
    """Write a checkpoint of `state`. Every rank must call this; the first one writes.

    Raises FloatingPointError, and writes nothing, where a weight is not finite; OSError where the disk is full.
    """
    if here.replica > 0:
        return
    velocities = [
        # A layer that was always frozen has no velocity: it is 0.
        (name, velocity if (velocity := state.optimizer.state[w].get("velocity")) is not None else torch.zeros_like(w))
        for name, w in state.network.named_parameters()
    ]
    weights = whole_values(state.network, state.network.state_dict().items(), state.exchange)
    velocity = whole_values(state.network, velocities, state.exchange)
    health.check_weights(state.network, run, state.step, setup.config.optim.lr)
    if here.is_first:
        contents = asdict(state.best) | {
            "step": state.step,
            "epoch": state.step / setup.steps_per_epoch,
            "schedule": state.schedule.to_json(),
            "store": setup.store,
            "run": identity.read(run) or identity.make(setup.config, setup.store),
            "settings": fixed_settings(setup.config),
        }
        checkpoint.save(run, state.step, weights, velocity, contents)  # type: ignore[arg-type]


def _resume(state: TrainState, last: Checkpoint, setup: Setup) -> None:
    """Replace all of `state` by what the checkpoint holds. ValueError where that is of another store, network or
    setting."""
    contents = last.state()
    check_settings(setup.config, contents, last.path.parents[1])
    if contents["store"] != setup.store:
        raise ValueError(f"{last.path.parents[1]} was trained on another store; resume it with its own store.")
    _load_weights(state, last.weights(), f"{last.path} does not fit the network of its config.json")
    for name, velocity in last.velocity().items():
        w = state.network.get_parameter(name)
        part = own_part(state.network, name, velocity, state.exchange)
        state.optimizer.state[w]["velocity"] = torch.empty_like(w).copy_(part)
    state.schedule = Schedule.from_json(contents["schedule"])
    state.best = Best(**{key: contents[key] for key in asdict(state.best)})
    state.step = last.step


def _load_all_but_last_layer(state: TrainState, run: Path) -> None:
    """Fine-tuning: take every layer of `run`'s best checkpoint except the last (docs/specification.md, "The bigger
    network"). ValueError when there is none, or its layers have other shapes."""
    last = f"{state.network.layers[-1].name}."
    weights = {name: value for name, value in checkpoint.find_weights(run)[1].items() if not name.startswith(last)}
    _load_weights(state, weights, f"{run} cannot be fine-tuned here, its network is another", missing=last)


def _load_weights(state: TrainState, weights: dict[str, Tensor], trouble: str, missing: str = "") -> None:
    """Copy the weights of a whole network into this rank's part of it; see `checkpoint.copy_weights`."""
    parts = {name: own_part(state.network, name, value, state.exchange) for name, value in weights.items()}
    checkpoint.copy_weights(state.network, parts, trouble, missing)
