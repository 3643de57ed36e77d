"""Random weights are recognised, and trained ones are not taken for random."""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import smooth

from alexnet.cli import main
from alexnet.config import NetworkConfig, TrainConfig, load_config, save_config
from alexnet.data.store.reader import Store
from alexnet.exchange.export import export
from alexnet.model.network import AlexNet
from alexnet.networks import NETWORKS
from alexnet.study import random_weights as study
from alexnet.study.activations import activations, centre_views
from alexnet.study.random_weights import above_guessing, initial_conv1, random_weights, structure
from alexnet.study.trained import TrainedAlexNet, load
from alexnet.study.verify import verify
from alexnet.training import checkpoint
from alexnet.training.loop import train

WriteRun = Callable[..., Path]


def untrained(network: NetworkConfig, seed: int, config_seed: int) -> TrainedAlexNet:
    """A network as `load` gives it, with the initial weights of `seed`, of a run whose seed is `config_seed`."""
    net = TrainedAlexNet(network, generator=torch.Generator().manual_seed(seed))
    net.config = TrainConfig("tiny", network=network, seed=config_seed)
    return net


@pytest.mark.parametrize("name", NETWORKS)
def test_initial_weights_of_every_network_are_random(name: str) -> None:
    network = dataclasses.replace(NETWORKS[name].config, width=1 / 8, classes=20)
    why = random_weights(untrained(network, 3, 3))
    assert why is not None and "initial weights of seed 3" in why
    for seed in range(4, 8):  # a file of weights that was never read in, for example
        why = random_weights(untrained(network, seed, 3))
        assert why is not None and "cannot be told from random numbers" in why


@pytest.mark.parametrize("name", ["paper", "torchvision", "four-layer"])
def test_initial_weights_are_those_that_training_begins_with(name: str) -> None:
    network = dataclasses.replace(NETWORKS[name].config, width=1 / 8)
    net = AlexNet(network, generator=torch.Generator().manual_seed(5))
    assert torch.equal(initial_conv1(network, 5), net.conv1.weight)


def test_structure_of_random_numbers_is_that_of_three_normal_numbers() -> None:
    draw = torch.Generator().manual_seed(0)
    for fill in (torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.exponential_):
        found = [structure(fill(torch.empty(16, 3, 11, 11).double(), generator=draw)) for _ in range(300)]
        # The largest of three: its median is 1.26, and 99.9 % are below 3.6.
        assert 1.1 < float(np.median(found)) < 1.45 and max(found) < 4.5


def test_a_smooth_kernel_or_a_grey_one_has_structure() -> None:
    noise = torch.randn(16, 3, 11, 11, generator=torch.Generator().manual_seed(0)).double()
    for kernels in (
        noise + noise.roll(1, 2),
        noise + noise.roll(1, 3),
        noise + noise.roll(1, 1),
    ):
        assert structure(kernels) > 20
        scaled = kernels * torch.tensor([1.0, 1.1, 0.9])[None, :, None, None] / 57  # as an import scales the colours
        assert structure(scaled) > 20


def trained_run(store: Path, folder: Path, epochs: int, seed: int = 1) -> Path:
    """A run of `epochs` epochs of three steps."""
    network = NetworkConfig(input_size=51, width=1 / 12, initial_std=(0.02, *(0.1,) * 7))
    config = TrainConfig("tiny", epochs=epochs, batch_size=12, network=network, device="cpu", seed=seed)
    optim = dataclasses.replace(config.optim, lr=0.001)
    train(store, folder, dataclasses.replace(config, optim=optim))
    return folder


def test_a_training_that_was_short_is_not_random_but_none_is(store: Path, tmp_path: Path) -> None:
    net = load(trained_run(store, tmp_path / "run", 2), "cpu")
    conv1 = study.inspect_conv1(net)
    assert conv1.weights < study.STRUCTURED < conv1.learned  # only what it has learned shows
    assert random_weights(net) is None
    assert "initial weights of seed 1" in str(random_weights(untrained(net.network, 1, 1)))


def test_a_last_layer_with_initial_weights_is_recognised(run: Path) -> None:
    net = load(run, "cpu")
    assert random_weights(net) is None
    with torch.no_grad():
        net.fc8.bias.fill_(0)
    assert random_weights(net) == "fc8 cannot be told from initial weights"
    with torch.no_grad():
        net.fc8.weight[0] *= 5  # a trained layer whose biases were kept out of the training
    assert random_weights(net) is None


def test_above_guessing_is_in_standard_deviations_of_shuffled_labels() -> None:
    random = np.random.default_rng(0)
    guesses, truths = random.choice(4, 80, p=(0.4, 0.3, 0.2, 0.1)), random.choice(4, 80, p=(0.1, 0.5, 0.3, 0.1))
    shuffled = np.array([(guesses == random.permutation(truths)).sum() for _ in range(20_000)])
    expected = ((guesses == truths).sum() - shuffled.mean()) / shuffled.std()
    assert above_guessing(guesses, truths, 4) == pytest.approx(expected, abs=0.05)
    assert above_guessing(np.zeros(80, int), truths, 4) == 0
    assert above_guessing(np.zeros(80, int), np.zeros(80, int), 4) == 0
    assert above_guessing(truths, truths, 4) > 8


@pytest.fixture
def good_run(store: Path, write_run: WriteRun, tmp_path: Path) -> Path:
    """A run whose last layer classifies the validation images: fitted to them by least squares."""
    run = write_run(tmp_path / "good")
    net = load(run, "cpu")
    split = Store(store).split("val")
    images = torch.from_numpy(np.stack([split.image(i) for i in range(len(split))]))
    x = torch.from_numpy(activations(net, centre_views(net, images), ["relu7"])["relu7"]).double()
    x = torch.cat([x * 0.5, torch.ones(len(x), 1)], 1)  # dropout: the network halves them in testing
    wanted = 8 * torch.eye(6).double()[torch.tensor(split.labels)]
    fitted = torch.linalg.lstsq(x, wanted, driver="gelsd").solution.T.float()
    put(run, net, fitted[:, :-1], fitted[:, -1])
    return run


def put(run: Path, net: AlexNet, weight: torch.Tensor, bias: torch.Tensor) -> None:
    """Write `run`'s checkpoint anew, with another last layer."""
    last = checkpoint.find(run, "last")
    weights = net.state_dict() | {"fc8.weight": weight, "fc8.bias": bias}
    checkpoint.save(run, last.step, weights, last.velocity(), last.state())


def test_verify_trained_passes_a_trained_network_and_no_other(
    good_run: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = verify(good_run, trained=True)["trained"]
    assert found["conv1"] > 6 and found["noise"] > study.CONSTANT and "images" not in found
    found = verify(good_run, data=store)["trained"]
    assert found["images"] == 18 and found["top1_error"] < 0.2 and found["above_guessing"] > 5
    assert main(["verify", str(good_run), "--trained", "--data", str(store)]) == 0
    shown = capsys.readouterr().out
    assert "complete, undamaged and trained" in shown
    assert "top-1 error of 18 images: " in shown and "standard deviations above guessing" in shown
    assert "None" not in shown and "above_guessing" not in shown

    net = load(good_run, "cpu")
    with torch.no_grad():
        net.conv2.weight.copy_(net.conv2.weight.flip(1))  # in an order of inputs that is not conv1's
    put(good_run, net, net.fc8.weight.roll(1, 0), net.fc8.bias.roll(1, 0))  # and a last layer for other classes
    assert main(["verify", str(good_run), "--trained"]) == 0  # only labelled images tell
    assert main(["verify", str(good_run), "--trained", "--data", str(store), "--json"]) == 1
    said = capsys.readouterr()
    assert f"{good_run} IS NOT TRAINED" in said.err and "18 images" in said.err
    assert "NOT TRAINED" in json.loads(said.out.splitlines()[-1])["error"]


def test_a_network_that_answers_all_noise_alike_is_not_trained(good_run: Path) -> None:
    net = load(good_run, "cpu")
    put(good_run, net, 1e-6 * net.fc8.weight, net.fc8.bias)
    with pytest.raises(ValueError, match="same for all noise images"):
        verify(good_run, trained=True)


def make_random(run: Path) -> None:
    """Give the run the initial weights of its seed, as a run of 0 steps has them."""
    config = dataclasses.replace(load_config(run / "config.json"), seed=7)
    save_config(config, run / "config.json")
    net = AlexNet(config.network, generator=torch.Generator().manual_seed(7))
    last = checkpoint.find(run, "last")
    state: Any = last.state()
    checkpoint.save(
        run, last.step, net.state_dict(), last.velocity(), state | {"settings": {**state["settings"], "seed": 7}}
    )


def test_no_command_serves_random_weights_without_a_line(
    own_run: Path, source: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = str(next((source / "val").rglob("*.png")))
    commands = (
        ["predict", str(own_run), image],
        ["similar", str(own_run), image, "--data", str(store), "--out", str(tmp_path / "index")],
        ["features", str(own_run), image, str(tmp_path / "fc7.npy"), "--force"],
        ["figures", str(own_run), "--out", str(tmp_path / "figures"), "--force"],
        ["export", str(own_run), str(tmp_path / "exported"), "--to", "safetensors", "--force"],
        ["compare", str(own_run), "--data", str(store), "--layer", "relu1,fc7"],
    )
    for trained in (True, False):
        if not trained:
            make_random(own_run)
        for command in commands:
            assert main([*command, "--json"]) == 0
            said = capsys.readouterr()
            loud = [line for line in said.err.splitlines() if f"THE WEIGHTS OF {own_run} ARE RANDOM" in line]
            found = json.loads(said.out)
            answer = found["runs"][0]["random_weights"] if "runs" in found else found["random_weights"]
            assert (len(loud), answer is None) == ((0, True) if trained else (1, False)), command
    assert main(["verify", str(own_run)]) == 0 and main(["verify", str(own_run), "--trained"]) == 1


def test_the_card_of_an_exported_random_network_says_so(own_run: Path, tmp_path: Path) -> None:
    assert export(own_run, tmp_path / "out", to="safetensors")["random_weights"] is None
    assert "not trained" not in (tmp_path / "out/README.md").read_text()
    make_random(own_run)
    assert "seed 7" in export(own_run, tmp_path / "out", to="safetensors", force=True)["random_weights"]
    assert "**This network is not trained: conv1 still has" in (tmp_path / "out/README.md").read_text()


def test_a_store_is_not_asked_whether_it_is_trained(store: Path) -> None:
    with pytest.raises(ValueError, match="is a store; --trained"):
        verify(store, trained=True)


def test_what_smooth_does_is_what_training_does() -> None:
    """The other tests' runs have such weights."""
    net = untrained(NetworkConfig(classes=6, input_size=63, width=1 / 12), 0, 0)
    smooth(net)
    assert random_weights(net) is None and math.isfinite(study.inspect_conv1(net).weights)
