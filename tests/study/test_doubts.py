"""A network that has not learned is reported by every command that shows its answers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import state_of

from alexnet import load
from alexnet.study.features import features
from alexnet.study.figures import figures
from alexnet.study.predict import predict
from alexnet.study.similar import similar
from alexnet.training import checkpoint
from alexnet.training.run_folder import fixed_settings


def save_again(run: Path, change: Callable[[Any], object] = lambda net: None, **state: Any) -> None:
    """Another checkpoint of `run`, with changed weights or another state."""
    net = load(run, "cpu")
    with torch.no_grad():
        change(net)
    velocity = {name: torch.zeros_like(w) for name, w in net.named_parameters()}
    known = state_of(7, 7, settings=fixed_settings(net.config), **state)
    checkpoint.save(run, 7, net.state_dict(), velocity, known)


def of_each(run: Path, source: Path, store: Path, folder: Path) -> dict[str, list[str]]:
    image = next(source.rglob("*.png"))
    return {
        "predict": predict(run, [image], views=1, device="cpu")["warnings"],
        "similar": similar(run, [image], store, device="cpu")["warnings"],
        "features": features(run, image, folder / "out.npy", device="cpu")["warnings"],
        "figures": figures(run, device="cpu")["warnings"],
    }


def test_an_error_of_guessing_is_reported_by_every_command(
    own_run: Path, source: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not any(of_each(own_run, source, store, tmp_path).values())
    (tmp_path / "out.npy").unlink()
    (tmp_path / "out.keys.txt").unlink()
    (tmp_path / "out.json").unlink()
    save_again(own_run, top1_error=0.82, top5_error=0.1)  # of six classes: 0.833
    for name, warnings in of_each(own_run, source, store, tmp_path).items():
        assert len(warnings) == 1 and f"{own_run} has not learned" in warnings[0], name
        assert "82.0 %, where guessing gives 83.3 %" in warnings[0]
    assert capsys.readouterr().err.count("has not learned") == 4


def test_one_label_for_images_of_several_classes_is_reported_by_predict(
    own_run: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def one_answer(net: Any) -> None:
        net.fc8.bias.fill_(0)
        net.fc8.bias[2] = 500

    save_again(own_run, one_answer)
    images = [next((source / "val" / name).glob("*.png")) for name in ("n01440764", "n02102040")]
    (warning,) = predict(own_run, images, views=1, device="cpu")["warnings"]
    assert "all images get the same probabilities" in warning

    def nearly_one_answer(net: Any) -> None:
        net.fc8.bias[2] = 0
        net.fc8.weight[2] = net.fc8.weight.abs().amax(0) + 0.1  # the largest logit, as relu7 is not negative

    save_again(own_run, nearly_one_answer)
    answers = predict(own_run, images, views=1, device="cpu")
    assert len({each["top5"][0]["wnid"] for each in answers["predictions"]}) == 1
    assert len(answers["warnings"]) == 1 and "same" in answers["warnings"][0]
    of_one_class = sorted((source / "val" / "n01440764").glob("*.png"))
    assert not any("same label" in each for each in predict(own_run, of_one_class, views=1, device="cpu")["warnings"])


def test_the_same_activations_for_all_images_are_reported_by_features(
    own_run: Path, source: Path, tmp_path: Path
) -> None:
    folder = source / "val" / "n01440764"
    assert features(own_run, folder, tmp_path / "good.npy", layer="fc7,relu7", device="cpu")["warnings"] == []

    def dead(net: Any) -> None:
        net.fc7.weight.zero_()
        net.fc7.bias.fill_(-1)

    save_again(own_run, dead)
    found = features(own_run, folder, tmp_path / "out.npy", layer="fc6,relu7", device="cpu", batch_size=2)
    (warning,) = found["warnings"]
    assert "the same activations in relu7:" in warning
    one = next(folder.glob("*.png"))
    assert features(own_run, one, tmp_path / "one.npy", layer="relu7", device="cpu")["warnings"] == []
