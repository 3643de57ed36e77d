"""`load`: a trained network from its run folder, with its classes and what prepares an image for it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alexnet.config import TrainConfig, load_run_config
from alexnet.data.classes import Class, read_classes
from alexnet.data.image.square import AnyImage, square
from alexnet.files.arrays import read_array
from alexnet.files.regular import reason
from alexnet.model import cuda
from alexnet.model.cpu.kernels import computed_in
from alexnet.model.inference import PackedNetwork, can_pack, weights_version
from alexnet.model.input import views
from alexnet.model.network import AlexNet
from alexnet.ranges import UsageError, values_of
from alexnet.training import checkpoint
from alexnet.training.device import choose_device
from alexnet.training.run_folder import check_settings


class Preprocess:
    """From any image to the network's input: rescaled, cut to the central square, cut into views, mean removed."""

    def __init__(self, mean: np.ndarray, crop: int, central: bool = False, honour_exif: bool = False) -> None:
        """`mean` float32 [size, size, 3]; `crop` and `central` as in training; `honour_exif` as in the run's store.

        Raises ValueError for a mean image of another kind, or smaller than `crop`.
        """
        if mean.dtype != np.float32 or mean.ndim != 3 or mean.shape != (len(mean), len(mean), 3) or len(mean) < crop:
            found = f"{mean.dtype} {list(mean.shape)}"
            raise ValueError(f"the mean image is {found}, not float32 [size, size, 3] with a size of {crop} or more")
        self.mean, self.central, self.honour_exif = torch.from_numpy(mean), central, honour_exif
        self.size, self.crop = mean.shape[0], crop

    def pixels(self, image: AnyImage) -> np.ndarray:
        """The image as a store would hold it, its shorter side rescaled to `size`: uint8 [size, size, 3].

        `image` is anything that `alexnet.data.image.square` takes: a path, an encoded image, a Pillow image, or an
        array or tensor, uint8 [H, W, 3]. A store that was prepared with it would hold the same pixels.

        Raises ValueError, with what is wrong, for anything else.
        """
        return square(image, self.size, self.honour_exif)

    def views(self, images: Tensor, count: int) -> Tensor:
        """The centre view (`count` 1) or the ten views of whole images, as the run was trained to see them.

        uint8 [B, size, size, 3] to float32 [B, count, 3, crop, crop], on the device of `images`. Raises ValueError for
        images of another kind, and for another `count`.
        """
        if images.dtype != torch.uint8 or images.shape[1:] != self.mean.shape:
            found = f"{images.dtype} {list(images.shape)}".removeprefix("torch.")
            raise ValueError(f"the images are {found}: give uint8 [images, {self.size}, {self.size}, 3]")
        if count not in (1, 10):
            raise ValueError(f"{count} views: give 1 or 10")
        return views(images, self.mean.to(images.device), self.crop, count, central=self.central)

    def image_views(self, image: AnyImage, count: int) -> Tensor:
        """`views` of one image: float32 [count, 3, crop, crop]."""
        return self.views(torch.tensor(self.pixels(image))[None], count)[0]

    def __call__(self, image: AnyImage) -> Tensor:
        """The centre view, float32 [3, crop, crop]: `network(network.preprocess("cat.jpg")[None])`."""
        return self.image_views(image, 1)[0]

    def ten_views(self, image: AnyImage) -> Tensor:
        """Four corners and the centre, then their mirror images: float32 [10, 3, crop, crop]."""
        return self.image_views(image, 10)


class TrainedAlexNet(AlexNet):
    """`AlexNet` in eval mode, with its run's `config`, `classes` and `preprocess`, and the folder of its `checkpoint`.

    On a CPU and on an NVIDIA GPU, without gradients (`torch.no_grad()`, `torch.inference_mode()`) and hooks, it
    computes from weights that the first call lays out for that (see `alexnet.model.inference` and
    `alexnet.model.cuda.inference`), in the number format of `torch.autocast` if that is on.
    """

    config: TrainConfig
    checkpoint: Path
    top1_error: float | None
    """Of the best evaluation of its training; None where there was none."""
    classes: tuple[Class, ...]
    preprocess: Preprocess
    _packed: tuple[object, int, Callable[[Tensor], Tensor]] | None = None
    """What the weights are of, the most images at a time (0: any), and what computes with them."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, S, S] to logits [B, classes]."""
        packed = self._packed_for(x)
        return super().forward(x) if packed is None else packed(x)

    def _packed_for(self, x: Tensor) -> Callable[[Tensor], Tensor] | None:
        """What computes `x` from weights laid out for this device and number format; None where nothing can."""
        dtype, on_gpu = computed_in(x) if isinstance(x, Tensor) else torch.float32, cuda.takes(x)
        if on_gpu:
            from alexnet.model.cuda import inference  # imports Triton

            dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else dtype
            if not inference.can_graph(self, x, dtype):
                return None
        elif not can_pack(self, x, dtype):
            return None
        version, room = (dtype, weights_version(self)), len(x) if on_gpu else 0
        if self._packed is None or self._packed[0] != version or self._packed[1] < room:
            self._packed = None  # free the old copy before the new one is made
            made = inference.GraphNetwork(self, dtype, room, x.device) if on_gpu else PackedNetwork(self, dtype, len(x))
            self._packed = version, room, made
        return self._packed[2]

    def __getstate__(self) -> dict[str, object]:
        """What copies and pickles hold: all but the weights packed for inference, which suit this process only."""
        return {name: value for name, value in self.__dict__.items() if name != "_packed"}


def load(run: str | Path, device: str = "auto", checkpoint_name: str = "best") -> TrainedAlexNet:
    """The trained network of `run`, in eval mode on `device`, from its `best` or `last` checkpoint, or that of a step
    ("5000").

    `network.classes` are (wnid, name) in the order of the logits; `network.preprocess(image)` gives its input.

    Raises ValueError when `run` is no run folder, is damaged, or has no checkpoint of that step.
    """
    run = Path(run)
    if checkpoint_name not in ("best", "last") and not checkpoint_name.isdecimal():
        raise UsageError(f"There is no checkpoint '{checkpoint_name}'; give best, last, or a step.")
    config = load_run_config(run)
    with values_of(run / "config.json"), torch.device("meta"):  # initial values would only be replaced
        network = TrainedAlexNet(config.network)
    found, weights = checkpoint.find_weights(run, checkpoint_name)
    state = found.state()
    check_settings(config, state, run)
    checkpoint.load_weights(network, found, weights)
    network.checkpoint, network.top1_error = found.path, state["top1_error"]
    try:
        mean = read_array(run / "mean.npy")
    except (OSError, ValueError) as error:
        raise ValueError(f"{run / 'mean.npy'} cannot be read: {reason(error)}") from None
    network.config = config
    network.classes = read_classes(run / "classes.json")
    crop, central = config.network.input_size, config.augment.mean_crop == "central"
    try:
        network.preprocess = Preprocess(mean, crop, central, config.honour_exif)
    except ValueError as error:
        raise ValueError(f"{run} is damaged: {error}") from None
    return network.to(device=choose_device(device), memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
