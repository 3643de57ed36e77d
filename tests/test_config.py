"""Settings: written, read back, and refused with the right suggestion."""

import ast
import itertools
import json
import re
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import pytest

from alexnet import config, recipes
from alexnet.config import TrainConfig, load_config, save_config


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_every_recipe_survives_writing_and_reading(name, tmp_path):
    made = recipes.recipe(name)
    save_config(made, tmp_path / "config.json")
    assert load_config(tmp_path / "config.json") == made
    assert made.recipe == name


def test_the_defaults_are_the_paper():
    assert recipes.recipe("paper") == TrainConfig()
    assert (TrainConfig().batch_size, TrainConfig().optim.lr, TrainConfig().optim.momentum) == (128, 0.01, 0.9)


def test_every_field_has_a_docstring():
    """The docstring under a field is its help on the command line."""
    tree = ast.parse(Path(config.__file__).read_text(encoding="utf-8"))
    for cls in (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name.endswith("Config")):
        for field, after in itertools.pairwise([*cls.body, ast.Pass()]):
            if isinstance(field, ast.AnnAssign) and not ast.unparse(field.annotation).endswith("Config"):
                assert isinstance(after, ast.Expr), f"{cls.name}: {ast.unparse(field)}"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"batchsize": 3}, "unknown setting 'batchsize'; did you mean 'batch_size'"),
        ({"optim": {"learning": 1.0}}, "unknown setting 'learning'; there are lr, bias_lr_factor"),
        ({"epochs": "3"}, "epochs must be of type int"),
        ({"compile": 1}, "compile must be of type bool"),
        ({"epochs": True}, "epochs must be of type int"),
        ({"epochs": 0}, "at least 1"),
        ({"dtype": "float16"}, "dtype must be one of auto, float32, bfloat16"),
        ({"schedule": {"drop_epochs": 3}}, "drop_epochs must be a list of numbers"),
        ({"schedule": {"changes": [3]}}, "changes must be a list of strings"),
        ({"schedule": {"changes": ["67 conv1"]}}, "'67 conv1' is not EPOCH TARGET VALUE"),
        ({"schedule": {"changes": ["67 conv1 slow"]}}, "'67 conv1 slow' is not EPOCH TARGET VALUE"),
        ({"schedule": {"changes": ["67 conv1 -1"]}}, "has a negative number"),
        ({"schedule": {"changes": ["6.5 colour_noise 0"]}}, "at a whole epoch"),
        ({"schedule": {"changes": ["6 colour_noise common"]}}, "changes to a number"),
        ({"network": {"dropout": 1.0}}, "network.dropout is 1.0"),
        ({"optim": {"lr": -1}}, "optim.lr is -1; it must be at least 0."),
        ({"optim": {"momentum": 1}}, "optim.momentum is 1; it must be at least 0 and less than 1."),
        ({"network": {"width": 0}}, "network.width is 0; it must be more than 0 and at most 16."),
        ({"network": {"channels": [96, 0, 1, 1, 1]}}, "network.channels is 0"),
        ({"network": {"channels": [96.5, 256, 384, 384, 256]}}, "channels must be a list of whole numbers"),
        ({"network": {"initial_bias": [True, 1]}}, "initial_bias must be a list of numbers"),
        ({"network": {"lrn_k": float("nan")}}, "network.lrn_k is nan; it must be a finite number."),
        ({"schedule": {"divisor": float("inf")}}, "schedule.divisor is inf; it must be a finite number."),
        ({"checkpoint": {"every_steps": -1}}, "checkpoint.every_steps is -1"),
        ({"batch_size": 10**12}, "batch_size is 1000000000000; it must be at least 1 and at most 65536."),
        ({"seed": -1}, "seed is -1"),
        ({"optim": 3}, "expected an object"),
    ],
)
def test_what_does_not_fit_is_refused(change, sentence, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(change))
    with pytest.raises(ValueError, match=re.escape(sentence)):
        load_config(path)


def test_every_number_has_a_range():
    for cls in (value for name, value in vars(config).items() if name.endswith("Config")):
        for name, annotation in get_type_hints(cls, include_extras=True).items():
            inner = get_args(annotation) if get_origin(annotation) is tuple else (annotation,)
            for each in inner:
                assert each not in (int, float), f"{cls.__name__}.{name} has no range"


def test_a_file_that_is_not_json_is_named(tmp_path):
    path = tmp_path / "config.json"
    path.write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is not a configuration"):
        load_config(path)


def test_a_near_name_is_suggested_and_a_far_one_is_not():
    with pytest.raises(ValueError, match="did you mean 'small'"):
        recipes.recipe("smal")
    with pytest.raises(ValueError, match=r"'resnet'; there are paper, original, finetune, .*demo\.$"):
        recipes.recipe("resnet")
