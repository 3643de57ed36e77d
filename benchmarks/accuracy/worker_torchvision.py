"""torchvision's AlexNet by the recipe of its reference training script. Imports nothing of this package.

    python -m benchmarks.accuracy.worker_torchvision imagenette2-160 90 0 auto

Arguments: a folder with train/CLASS and val/CLASS, epochs, seed, device. The recipe is that of torchvision's
references/classification for `--model alexnet --lr 1e-2` on one device: batches of 32, momentum 0.9, weight decay
0.0001, the learning rate divided by 10 after each third of the epochs (30 of 90), random-resized crops of 224 pixels,
mirroring; testing on the centre of an image whose shorter side is 256. Ten views beside it, on the same image. Prints
one JSON object: errors in per cent, seconds of training, training images per second.
"""

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets, models
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH, LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 32, 0.01, 0.9, 0.0001
TO_FLOAT = (v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD))


def ten_views(image: Tensor) -> Tensor:
    """The four corners, the centre and their mirror images: [3, H, W] to [10, 3, 224, 224]; the fifth is the centre."""
    return torch.stack(functional.ten_crop(image, [224, 224]))


TRAINING = v2.Compose([v2.RandomResizedCrop(224), v2.RandomHorizontalFlip(), *TO_FLOAT])
TESTING = v2.Compose([v2.Resize(256), *TO_FLOAT, ten_views])


def main() -> None:
    folder, epochs, seed, device = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = True
    images = datasets.ImageFolder(str(folder / "train"), TRAINING)
    network = models.alexnet(num_classes=len(images.classes)).to(device)
    began = time.monotonic()
    trained = train(network, images, epochs, device)
    seconds = time.monotonic() - began
    tests = datasets.ImageFolder(str(folder / "val"), TESTING)
    found = {"seconds": seconds, "images_per_second": trained / seconds, **test(network, tests, device)}
    print(json.dumps(found))


def train(network: nn.Module, images: datasets.ImageFolder, epochs: int, device: str) -> int:
    """Train, and return how many images were seen."""
    loss_of = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(network.parameters(), LEARNING_RATE, MOMENTUM, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, max(1, round(epochs / 3)), 0.1)
    seen = 0
    network.train()
    for _ in range(epochs):
        for x, y in batches(images, device, shuffle=True):
            loss = loss_of(network(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += len(y)
        schedule.step()
    return seen


@torch.no_grad()
def test(network: nn.Module, images: datasets.ImageFolder, device: str) -> dict[str, float]:
    """Top-1 and top-5 error in per cent, of the centre and of ten views."""
    network.eval()
    right = {"centre": torch.zeros(2), "ten views": torch.zeros(2)}
    for x, y in batches(images, device, shuffle=False):
        outputs = network(x.flatten(0, 1)).softmax(1).unflatten(0, x.shape[:2])  # [B, 10, classes]
        for name, scores in (("centre", outputs[:, 4]), ("ten views", outputs.mean(1))):
            hits = scores.topk(min(5, scores.shape[1])).indices == y[:, None]
            right[name] += torch.stack([hits[:, 0].sum(), hits.sum()]).cpu()
    return {
        f"{name}, top-{k}": 100 - 100 * float(count) / len(images)
        for name, counts in right.items()
        for k, count in zip((1, 5), counts, strict=True)
    }


def batches(images: datasets.ImageFolder, device: str, shuffle: bool) -> Iterator[tuple[Tensor, Tensor]]:
    loaded: Iterable[tuple[Tensor, Tensor]] = DataLoader(
        images, BATCH, shuffle, num_workers=os.cpu_count() or 1, pin_memory=device != "cpu", persistent_workers=False
    )
    for x, y in loaded:
        yield x.to(device, non_blocking=True), y.to(device, non_blocking=True)


if __name__ == "__main__":
    main()
