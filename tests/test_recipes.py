"""The recipes against docs/specification.md, and how a new one is added."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
from noise import noise_store

from alexnet.config import AugmentConfig, OptimConfig, load_config
from alexnet.networks import NETWORKS
from alexnet.recipes import RECIPES, recipe

# Batch size, update and augmentation: "The update", "The images" and "What people confuse it with".
PAPER_UPDATE = OptimConfig(lr=0.01, momentum=0.9, weight_decay=0.0005, bias_lr_factor=1, no_weight_decay=())
PAPER_IMAGES = AugmentConfig(
    shuffle="every-epoch",
    include_last_offset=False,
    images_per_crop=1,
    mean_crop="matching",
    colour_noise=0.1,
    colour_scale="eigenvalues",
)
ORIGINAL_UPDATE = dataclasses.replace(PAPER_UPDATE, bias_lr_factor=2, no_weight_decay=("bias",))
ORIGINAL_IMAGES = dataclasses.replace(
    PAPER_IMAGES,
    shuffle="once",
    include_last_offset=True,
    images_per_crop=32,
    mean_crop="central",
    colour_scale="standard-deviations",
)
TABLE = {
    "paper": (128, PAPER_UPDATE, PAPER_IMAGES),
    "original": (128, ORIGINAL_UPDATE, ORIGINAL_IMAGES),
    "caffe": (256, ORIGINAL_UPDATE, dataclasses.replace(PAPER_IMAGES, include_last_offset=True, colour_noise=0)),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_recipes_are_those_of_the_table(name):
    made = recipe(name)
    assert (made.batch_size, made.optim, made.augment) == TABLE[name]
    assert made.network == NETWORKS[name].config


def test_caffes_learning_rate_drops_every_100_000_batches():
    made = recipe("caffe")
    epochs = [n * 100_000 * made.batch_size / 1_281_167 for n in (1, 2, 3, 4)]
    assert made.schedule.drop_epochs == pytest.approx(epochs, rel=2e-3)


def test_finetuning_raises_the_learning_rate_of_fc8_after_300_macro_batches():
    (start,) = [change.epoch for change in recipe("finetune").schedule.parsed_changes if change.value == 0.01]
    assert start == pytest.approx(300 * 1024 / 1_281_167, rel=5e-3)


def test_the_small_recipe_keeps_the_fractions_of_its_drops():
    assert recipe("small").schedule.drop_epochs == (32, 37)
    assert recipe("small", epochs=20).schedule.drop_epochs == (16, 18.5)


def test_the_small_recipe_trains_longer_on_fewer_images():
    epochs = {images: recipe("small", images=images).epochs for images in (600, 750, 1_500, 9_469)}
    assert epochs == {600: 100, 750: 82, 1_500: 40, 9_469: 40}
    assert recipe("small", epochs=3, images=600).epochs == 3


def test_the_four_layer_recipe_is_the_programs():
    made = recipe("cifar")
    assert (made.optim.lr, made.optim.weight_decay) == (0.001, 0.004)
    assert made.optim.no_weight_decay == ("bias", "conv1", "conv2")
    assert made.network.input_size == 24


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipes_network_is_a_named_one_or_says_what_it_changes(name):
    known = [network.config for network in NETWORKS.values()]
    made = recipe(name).network
    if name in ("small", "demo"):  # the paper's with other initial values, and narrower
        made = dataclasses.replace(
            made, initial_std=known[0].initial_std, initial_bias=known[0].initial_bias, width=1.0, input_size=224
        )
    assert made in known


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_says_its_purpose_command_cost_and_result(name):
    text = RECIPES[name].__doc__ or ""
    assert re.search(r"Command: `alexnet ", text) and "Cost" in text and re.search("[Rr]esult", text)
    purpose = text.partition("\n")[0]  # its entry in `alexnet train --help`
    assert 20 < len(purpose) < 110 and purpose.endswith(".")


README = Path(__file__).parents[1] / "README.md"


@pytest.mark.skipif(not README.is_file(), reason="README.md is not beside the tests")
def test_the_readme_shows_the_result_of_the_small_recipe():
    result = (RECIPES["small"].__doc__ or "").partition("Result: ")[2].partition("\n\n")[0]
    percentages = re.findall(r"\d+\.\d %", result)
    assert len(percentages) == 4
    for percentage in percentages:
        assert percentage in README.read_text(encoding="utf-8")


STRIPED = """
import sys
from dataclasses import replace
from alexnet.recipes import RECIPES, small

def striped():
    \"\"\"Striped images: narrow, one epoch.\"\"\"
    made = small()
    return replace(made, recipe="striped", epochs=1, batch_size=8, device="cpu",
                   network=replace(made.network, input_size=51, width=0.0834))

RECIPES["striped"] = striped
from alexnet.cli import main
main(["train", "--help"])
sys.exit(main(["train", *sys.argv[1:], "--recipe", "striped"]))
"""


def test_a_new_recipe_is_a_function_and_a_line(tmp_path):
    """As CONTRIBUTING.md says: a recipe that is registered is listed with its first line, and trains."""
    # A process of its own, not a fork of one that has the command line already.
    command = [sys.executable, "-c", STRIPED, noise_store(tmp_path), tmp_path / "run"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.search(r"striped\s+Striped images: narrow, one epoch\.", done.stdout)
    assert load_config(tmp_path / "run" / "config.json").recipe == "striped"
