"""Class probabilities, and what is counted from them: the five best, errors, confusions (paper, sections 4.1 and 6).

The ten views of an image are the four corners and the centre, and the mirror image of each; the ten softmax outputs
are averaged. A label whose score ties with others gets the credit that a random order among them would earn, so that
a constant output scores chance.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alexnet.data.classes import Class
from alexnet.ranges import UsageError
from alexnet.study.trained import TrainedAlexNet
from alexnet.training.device import choose_dtype, precision
from alexnet.training.metrics import interval, top_k_credit

VIEWS_AT_ONCE = 128
WORST_PAIRS = 10


def check_views(views: int) -> None:
    """ValueError unless `views` is 1 or 10."""
    if views not in (1, 10):
        raise UsageError(f"views is {views}; it must be 1 (centre) or 10 (corners, centre and their mirror images).")


@torch.inference_mode()
def view_probabilities(net: TrainedAlexNet, views: Tensor, at_once: int = VIEWS_AT_ONCE) -> Tensor:
    """Softmax output of each view: float32 [N, 3, C, C] to [N, classes], on the network's device.

    Computes in the run's number format, `at_once` views at a time; the softmax is float32.
    """
    device = next(net.parameters()).device
    outputs = []
    with precision(device, choose_dtype(net.config.dtype, device)):
        for part in views.split(at_once):
            part = part.to(device).contiguous(memory_format=torch.channels_last)
            outputs.append(net(part).float().softmax(1))
    return torch.cat(outputs)


@torch.inference_mode()
def probabilities(net: TrainedAlexNet, views: Tensor, at_once: int = VIEWS_AT_ONCE) -> Tensor:
    """`view_probabilities`, averaged over the views of each image: [B, V, 3, C, C] to [B, classes] on the CPU."""
    return view_probabilities(net, views.flatten(0, 1), at_once).unflatten(0, views.shape[:2]).mean(1).cpu()


def image_probabilities(net: TrainedAlexNet, images: Tensor, views: int, at_once: int = VIEWS_AT_ONCE) -> Tensor:
    """`probabilities` of the 1 or 10 views of whole images: uint8 [B, S, S, 3] to float32 [B, classes]."""
    device = next(net.parameters()).device
    return probabilities(net, net.preprocess.views(images.to(device), views), at_once)


def top5(scores: Tensor, classes: Sequence[Class]) -> list[dict[str, Any]]:
    """`best` of five."""
    return best(scores, classes, 5)


def best(scores: Tensor, classes: Sequence[Class], count: int) -> list[dict[str, Any]]:
    """The `count` most probable classes (all, where there are fewer), from scores [classes]: `wnid`, `name`,
    `probability`."""
    found = scores.topk(min(count, len(classes)))
    return [
        {"wnid": classes[i].wnid, "name": classes[i].name, "probability": probability}
        for probability, i in zip(found.values.tolist(), found.indices.tolist(), strict=True)
    ]


def top1_top5_credits(scores: Tensor, labels: Tensor) -> np.ndarray:
    """Top-1 and top-5 credit of each image, from scores [B, classes] and labels int64 [B]: float64 [2, B]."""
    return np.stack([top_k_credit(scores, labels, k).numpy() for k in (1, 5)])


def errors(credits: np.ndarray) -> dict[str, float]:
    """`top1_error` and `top5_error` (fractions) over all images, from credits float64 [2, N]."""
    top1, top5 = credits.mean(axis=1)
    return {"top1_error": float(1 - top1), "top5_error": float(1 - top5)}


def errors_and_intervals(credits: np.ndarray) -> dict[str, Any]:
    """`errors`, and `top1_interval` and `top5_interval`: [low, high] of the 95 % interval of each."""
    found = errors(credits)
    images = credits.shape[1]
    return found | {f"top{k}_interval": list(interval(found[f"top{k}_error"], images)) for k in (1, 5)}


def balanced(credits: np.ndarray, truths: np.ndarray) -> dict[str, Any]:
    """`balanced_error`, the mean of the top-1 errors of all classes that have images, and `balanced_interval`.

    With as many images in each class it is the top-1 error. credits float64 [2, N], truths int64 [N]. The interval is
    that of an error measured on as many images, drawn from one class, as would make its variance the same.
    """
    counts = np.bincount(truths)
    there = np.flatnonzero(counts)
    wrong = np.bincount(truths, weights=1 - credits[0])[there]
    sizes = counts[there]
    error = float((wrong / sizes).mean())
    # As many images as would give the variance that is seen (a class with one image seems to have none: two with the
    # mean error are added to each), but no more than where all classes have the same error: few wrong ones tell little.
    likely = (wrong + 2 * error) / (sizes + 2)
    variance = float((likely * (1 - likely) / sizes).mean() / len(there))
    alike = len(there) / float((1 / sizes).mean())
    images = min(alike, error * (1 - error) / variance) if variance > 0 else alike
    return {"balanced_error": error, "balanced_interval": list(interval(error, images))}


def count_confusions(guesses: np.ndarray, truths: np.ndarray, classes: int) -> np.ndarray:
    """How many images of each true class (row) got each label (column): int64 [classes, classes].

    Both int64 [N].
    """
    return np.bincount(truths * classes + guesses, minlength=classes**2).reshape(classes, classes)


def per_class(credits: np.ndarray, truths: np.ndarray, classes: Sequence[Class]) -> list[dict[str, Any]]:
    """Errors of each class that has images; credits float64 [2, N], truths int64 [N]."""
    return [
        {
            "wnid": classes[label].wnid,
            "name": classes[label].name,
            "images": int((truths == label).sum()),
        }
        | errors_and_intervals(credits[:, truths == label])
        for label in np.unique(truths).tolist()
    ]


def confusions(
    guesses: np.ndarray, truths: np.ndarray, classes: Sequence[Class], most: int | None = WORST_PAIRS
) -> list[dict[str, Any]]:
    """The `most` pairs (true, predicted), both int64 [N], that are confused most often; `of` counts the true class."""
    sizes = np.bincount(truths, minlength=len(classes))
    wrong = guesses != truths
    pairs = Counter(zip(truths[wrong].tolist(), guesses[wrong].tolist(), strict=True))
    worst = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:most]
    return [
        {
            "true": classes[true].wnid,
            "true_name": classes[true].name,
            "predicted": classes[guess].wnid,
            "predicted_name": classes[guess].name,
            "count": count,
            "of": int(sizes[true]),
        }
        for (true, guess), count in worst
    ]


def percent(fraction: float) -> str:
    """0.4066 as "40.7 %"."""
    return f"{100 * fraction:.1f} %"
