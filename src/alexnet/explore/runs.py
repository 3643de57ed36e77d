"""A run that is looked at: its network, and what its layers do with an image."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from alexnet.explore import bounds
from alexnet.explore.guard import MissingError
from alexnet.explore.images import Images, as_json
from alexnet.explore.worker import Together
from alexnet.files.printable import printable
from alexnet.model.fields import fields_of
from alexnet.model.input import view_offsets
from alexnet.study.activations import activations, layer_names
from alexnet.study.index import embed
from alexnet.study.scores import top5, view_probabilities
from alexnet.study.trained import TrainedAlexNet, load

SHOWN = ("conv", "local", "fc", "norm", "spatial norm", "pool", "activation")
"""Kinds of stages that have a column of their own."""


class Seen(NamedTuple):
    """What a network makes of the centre view of an image."""

    view: np.ndarray
    """float32 [3, C, C]: the network's input."""
    outputs: dict[str, np.ndarray]
    """Of each stage, float32 [channels, height, width] or [units]."""

    @property
    def bytes(self) -> int:
        return sum(each.nbytes for each in self.outputs.values()) + self.view.nbytes


class Run:
    """One run, by its number among those that were given."""

    def __init__(self, number: int, path: Path, device: str = "auto") -> None:
        """Raises ValueError as `load`."""
        self.number, self.path = number, path
        self.name = printable(path.absolute().name)
        self.net: TrainedAlexNet = load(path, device)
        self.layers = {layer.name: layer for layer in self.net.layers}
        self.fields = fields_of(self.net.layers)
        self.form = self.net.preprocess.size, self.net.preprocess.honour_exif
        self._seen: OrderedDict[str, Seen] = OrderedDict()
        self._lock = threading.Lock()
        self.forward = threading.Lock()
        """Held in a forward pass: hooks of one thread would see the activations of another."""
        self._probabilities = Together(self._views_together, bounds.TOGETHER)
        self._answers: OrderedDict[tuple[str, int], dict[str, Any]] = OrderedDict()

    @property
    def offset(self) -> int:
        """Pixels of the image above and to the left of its centre view."""
        return self.view_boxes(1)[0][0]

    def stage(self, name: str) -> str:
        """The name of a stage. MissingError, with the names, for one that the network does not have."""
        if name not in self.layers:
            raise MissingError(f"There is no stage '{name[:40]}'; this network has {', '.join(self.layers)}.")
        return name

    def before(self, name: str) -> str | None:
        """The stage before one; None for the first."""
        names = list(self.layers)
        return names[names.index(name) - 1] if name != names[0] else None

    def after(self, name: str, *kinds: str) -> str | None:
        """The first stage of these kinds after one; None where there is none."""
        names = list(self.layers)
        later = names[names.index(name) + 1 :]
        return next((each for each in later if self.layers[each].kind in kinds), None)

    def pixels(self, images: Images, image: str) -> np.ndarray:
        """The image as the run sees it: uint8 [size, size, 3]."""
        return images.pixels(image, *self.form)

    def see(self, images: Images, image: str) -> Seen:
        """What every stage makes of the image. The last images are kept."""
        with self._lock:
            if image in self._seen:
                self._seen.move_to_end(image)
                return self._seen[image]
        view = self.net.preprocess(self.pixels(images, image))
        with self.forward:
            found = activations(self.net, view[None], layer_names(self.net))
        seen = Seen(view.cpu().numpy(), {name: values[0].copy() for name, values in found.items()})
        with self._lock:
            self._seen[image] = seen
            while sum(each.bytes for each in self._seen.values()) > bounds.ACTIVATIONS_KEPT and len(self._seen) > 1:
                self._seen.popitem(last=False)
        return seen

    def predict(self, images: Images, image: str, views: int) -> dict[str, Any]:
        """The five most probable labels as `alexnet predict` has them, and those of each of the views. The last answers
        are kept. Threads that ask at once share a forward pass."""
        with self._lock:
            if (image, views) in self._answers:
                self._answers.move_to_end((image, views))
                return self._answers[image, views]
        cut = self.net.preprocess.views(torch.from_numpy(self.pixels(images, image))[None], views)[0]  # [V, 3, C, C]
        each = self._probabilities(cut)  # [V, classes]
        answer = {
            "run": self.number,
            "name": self.name,
            "top5": top5(each.mean(0), self.net.classes),
            "views": [
                {"top": top, "left": left, "mirrored": mirrored, "top5": top5(scores, self.net.classes)}
                for (top, left, mirrored), scores in zip(self.view_boxes(views), each, strict=True)
            ],
        }
        with self._lock:
            self._answers[image, views] = answer
            while len(self._answers) > bounds.LABELS_KEPT:
                self._answers.popitem(last=False)
        return answer

    def _views_together(self, cuts: Sequence[Tensor]) -> list[Tensor]:
        """`view_probabilities` of the views of several images, [V, 3, C, C] each: [V, classes] each, on the CPU."""
        with self.forward:
            found = view_probabilities(self.net, torch.cat([*cuts])).cpu()
        return [*found.split([len(cut) for cut in cuts])]

    def warm_up(self) -> None:
        """Lay the weights out for forward passes, so that the first image does not wait for it."""
        crop = self.net.preprocess.crop
        self._probabilities(torch.zeros(10, 3, crop, crop, device=self.net.preprocess.mean.device))

    def embed(self, images: Images, image: str) -> Tensor:
        """The last hidden layer's activations for an image, as `alexnet similar` has them: float32 [1, D]."""
        view = self.net.preprocess(self.pixels(images, image))
        with self.forward:
            return embed(self.net, view[None])

    def view_boxes(self, views: int) -> list[tuple[int, int, bool]]:
        """Top and left of each view in the image, and whether it is mirrored."""
        return view_offsets(self.net.preprocess.size, self.net.preprocess.crop, views)

    def about(self) -> dict[str, Any]:
        """What the page needs to know of the run. No path is in it."""
        network = self.net.network
        return {
            "run": self.number,
            "name": self.name,
            "checkpoint": self.net.checkpoint.name,
            "size": self.net.preprocess.size,
            "crop": self.net.preprocess.crop,
            "towers": network.towers,
            "last_hidden": self.net.last_hidden,
            "classes": [as_json(entry) for entry in self.net.classes],
            "layers": [
                {
                    "name": layer.name,
                    "kind": layer.kind,
                    "shape": list(layer.outputs),
                    "inputs": list(layer.inputs),
                    "kernel_size": layer.kernel_size,
                    "stride": layer.stride,
                    "padding": layer.padding,
                    "groups": layer.groups,
                    "field": list(self.fields[layer.name]),
                    "shown": layer.kind in SHOWN,
                }
                for layer in self.net.layers
            ],
        }
