"""torchvision's network becomes a run, and a run becomes torchvision's network; and our own safetensors both ways."""

import dataclasses
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from one_line import one_line
from small_runs import SMALL, spread, write

from alexnet import AlexNet, load
from alexnet.cli import main
from alexnet.config import NetworkConfig
from alexnet.exchange import parity, read_weights, torchvision_layout
from alexnet.exchange.export import export
from alexnet.exchange.import_ import KNOWN, read_class_list
from alexnet.exchange.weight_files import torchvision_use, write_torchvision
from alexnet.networks import NETWORKS
from alexnet.study.trained import Preprocess, TrainedAlexNet
from alexnet.study.verify import verify

torchvision = pytest.importorskip("torchvision", reason="torchvision is not installed")


@pytest.fixture(scope="module")
def theirs() -> torch.nn.Module:
    """torchvision's network with weights of our own, and few units in fc6 and fc7, so that files are small."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        with torch.device("meta"):
            network = torchvision.models.alexnet(num_classes=5)
        for i, (inputs, outputs) in {1: (9216, 64), 4: (64, 64), 6: (64, 5)}.items():
            network.classifier[i] = torch.nn.Linear(inputs, outputs, device="meta")
        network = network.to_empty(device="cpu").eval()
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
                module.reset_parameters()
        return network


@pytest.fixture(scope="module")
def imported(theirs: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torchvision")
    torch.save(theirs.state_dict(), folder / "alexnet.pth")
    (folder / "names.txt").write_text("cat\ndog\ncow\nhen\npig\n")
    options = ["--classes", str(folder / "names.txt")]
    assert main(["import", str(folder / "alexnet.pth"), str(folder / "run"), *options]) == 0
    return folder / "run"


def test_an_imported_network_gives_torchvisions_logits(theirs: torch.nn.Module, imported: Path) -> None:
    from torchvision import transforms

    image = np.random.default_rng(2).integers(0, 256, (256, 256, 3)).astype(np.uint8)
    normal = transforms.Normalize(torchvision_layout.MEAN, torchvision_layout.STD)
    x = normal(torch.from_numpy(image).permute(2, 0, 1)[:, 16:240, 16:240] / 255)[None]
    net = load(imported, "cpu")
    with torch.inference_mode():
        assert parity.compare(theirs(x).numpy(), net(net.preprocess(image)[None]).numpy(), "our network") < 1e-5
    assert [each.name for each in net.classes] == ["cat", "dog", "cow", "hen", "pig"]


def test_an_imported_run_tells_where_it_comes_from(imported: Path) -> None:
    record = json.loads((imported / "import.json").read_text())
    assert record["file"].endswith("alexnet.pth") and len(record["sha256"]) == 64 and record["known"] is None
    assert record["layout"] == "torchvision" and record["checked"]["largest_difference"] < 1e-5


def test_the_card_of_an_imported_network_claims_no_training(imported: Path, tmp_path: Path) -> None:
    export(imported, tmp_path / "out", to="safetensors")
    text = (tmp_path / "out/README.md").read_text()
    record = json.loads((imported / "import.json").read_text())
    assert "imported, not trained here: alexnet.pth" in text and record["sha256"] in text
    assert "recipe" not in text and "the paper's training" not in text


def test_the_layout_goes_back_to_torchvision(theirs: torch.nn.Module) -> None:
    state = theirs.state_dict()
    back = torchvision_layout.from_ours(torchvision_layout.to_ours(state), rescaled=True)
    assert back.keys() == state.keys()
    for name, value in state.items():
        torch.testing.assert_close(back[name], value)


def test_a_trained_network_goes_to_torchvision(tmp_path: Path) -> None:
    with torch.device("meta"):
        net = TrainedAlexNet(dataclasses.replace(NETWORKS["torchvision"].config, classes=5))
        again = torchvision.models.alexnet(num_classes=5).eval()
    net = net.to_empty(device="cpu").eval()
    spread(net)
    mean = np.random.default_rng(5).uniform(100, 140, (230, 230, 3)).astype(np.float32)
    net.preprocess = Preprocess(mean, 224)
    assert write_torchvision(net, tmp_path / "model.pth")["largest_difference"] < 1e-5
    again.load_state_dict(torch.load(tmp_path / "model.pth", weights_only=True), assign=True)
    x = parity.reference_views(net)[:1]
    with torch.inference_mode():
        assert parity.compare(again(x).numpy(), parity.logits(net, x), "our network") < 1e-5
    assert "not torchvision's own normalisation" in torchvision_use(net)


def test_an_imported_run_with_fewer_units_is_no_network_of_torchvision(imported: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="its fc6 is another layer"):
        export(imported, tmp_path / "out", to="torchvision")


@pytest.mark.parametrize(
    ("name", "word"),
    [("paper", "dropout"), ("caffe", "pad1|conv1"), ("no-norm", "dropout"), ("four-layer", "four-layer")],
)
def test_other_networks_are_refused_with_the_reason(name: str, word: str) -> None:
    reason = torchvision_layout.why_not(NETWORKS[name].config)
    assert reason and any(each in reason for each in word.split("|"))
    assert torchvision_layout.why_not(NETWORKS["torchvision"].config) is None


def test_a_run_of_another_network_is_refused_in_a_sentence(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run), str(tmp_path / "out"), "--to", "torchvision"]) == 1
    assert "not torchvision's" in one_line(capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "network",
    [SMALL, dataclasses.replace(NETWORKS["four-layer"].config, width=0.5, classes=3)],
    ids=["paper", "four-layer"],
)
def test_our_own_safetensors_come_back_bit_for_bit(network: NetworkConfig, tmp_path: Path) -> None:
    run = write(tmp_path / "run", network)
    export(run, tmp_path / "out", to="safetensors")
    assert main(["import", str(tmp_path / "out/model.safetensors"), str(tmp_path / "again")]) == 0
    assert verify(tmp_path / "again")["kind"] == "run"
    before, after = load(run, "cpu"), load(tmp_path / "again", "cpu")
    assert before.network == after.network and before.classes == after.classes
    assert torch.equal(before.preprocess.mean, after.preprocess.mean)
    assert all(torch.equal(value, after.state_dict()[name]) for name, value in before.state_dict().items())
    again = AlexNet(NetworkConfig(**json.loads((tmp_path / "out/config.json").read_text())["network"])).eval()
    again.load_state_dict(before.state_dict())  # as the card says


def test_what_cannot_be_imported_is_named_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from safetensors.torch import save_file

    class Evil:
        def __reduce__(self) -> tuple:
            return (print, ("executed",))

    torch.save({"features.0.weight": Evil()}, tmp_path / "evil.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"features.0.weight": torch.zeros(2, 2)}, tmp_path / "small.pth")
    torch.save({"features.0.weight": torch.full((2, 2), torch.nan)}, tmp_path / "nan.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "small.pth").read_bytes()[:200])
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "text.safetensors").write_text("no tensors")
    save_file({"conv1.weight": torch.zeros(2)}, tmp_path / "alone.safetensors")
    save_file({"other": torch.zeros(2)}, tmp_path / "other.safetensors")
    (tmp_path / "weights.h5").write_text("")
    for path in sorted(tmp_path.iterdir()):
        assert main(["import", str(path), str(tmp_path / "run")]) == (2 if path.name == "weights.h5" else 1)
        out, err = capsys.readouterr()
        assert str(path) in one_line(err) and "executed" not in out + err
        assert not (tmp_path / "run").exists()


def test_settings_of_a_stranger_claim_no_memory(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"conv1.weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    np.save(tmp_path / "mean.npy", np.zeros((256, 256, 3), np.float32))
    (tmp_path / "classes.json").write_text('[["n1", "one"]]')
    huge = {"fc_units": 65536, "input_size": 4096, "classes": 65536}  # terabytes of weights
    for network, preprocess, said in (
        (huge, {}, "does not fit the network"),
        (huge, [], "has no network and preprocess"),
        ({"input_size": 1}, {}, "needs images of at least"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({"network": network, "preprocess": preprocess}))
        with pytest.raises(ValueError, match=said):
            read_weights.read_weights(tmp_path, None)


def test_class_lists_are_read_in_three_forms(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("n01440764 tench, Tinca tinca\n\ngreat white shark\n")
    assert read_class_list(tmp_path / "words.txt") == (
        ("n01440764", "tench, Tinca tinca"),
        ("great white shark", "great white shark"),
    )
    (tmp_path / "classes.json").write_text('[["n1", "one"]]')
    assert read_class_list(tmp_path / "classes.json") == (("n1", "one"),)
    (tmp_path / "twice.txt").write_text("cat\ncat\n")
    with pytest.raises(ValueError, match="twice"):
        read_class_list(tmp_path / "twice.txt")


def test_the_published_files_are_known_by_their_digests() -> None:
    assert any(key.startswith("9116a64c") and key.endswith("0377") and len(key) == 40 for key in KNOWN)
    assert any(key.startswith("4c8d77de") and key.endswith("0a46") and len(key) == 40 for key in KNOWN)


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        ({"epoch": 3, "state_dict": {"a": torch.zeros(3)}}, "'epoch', 'state_dict' are something else"),
        ({"a": {"b": {"c": 1}}}, "'a' is something else"),
        ({"a": torch.optim.SGD}, r"it holds a Python object \(torch.optim.sgd.SGD\), which would run a program"),
        ([torch.zeros(3)], "not a state dict: names and tensors"),
    ],
)
def test_a_file_that_holds_something_else_is_refused_in_our_words(saved, said, tmp_path):
    torch.save(saved, tmp_path / "model.pth")
    with pytest.raises(ValueError, match=said) as caught:
        read_weights.read_weights(tmp_path / "model.pth", None)
    assert "{" not in str(caught.value) and "PyTorch" not in str(caught.value)


def test_a_plain_pickle_is_refused_in_our_words(tmp_path):
    (tmp_path / "model.pth").write_bytes(pickle.dumps({"a": {"b": 1}}, protocol=4))
    with pytest.raises(ValueError, match="cut short, damaged, or of another program"):
        read_weights.read_weights(tmp_path / "model.pth", None)
