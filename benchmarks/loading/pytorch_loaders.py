"""PyTorch's DataLoader with torchvision, and WebDataset, as their manuals say."""

from collections.abc import Callable, Iterable
from pathlib import Path

from torch.utils.data import DataLoader

from alexnet.native.processor import cores

Batches = Callable[[], Iterable[object]]
"""One epoch."""


def crop_and_mirror(crop: int) -> Callable:
    """torchvision's transform of a Pillow image to uint8 [3, crop, crop]."""
    from torchvision.transforms import v2

    return v2.Compose([v2.PILToTensor(), v2.RandomCrop(crop), v2.RandomHorizontalFlip()])


def torchvision_batches(folder: Path, batch: int, crop: int) -> Batches:
    """From the class folders below `folder`/files. Raises ImportError without torchvision."""
    from torchvision import datasets

    images = datasets.ImageFolder(str(folder / "files"), crop_and_mirror(crop))
    return lambda: DataLoader(images, batch, shuffle=True, num_workers=cores(), drop_last=True)


def webdataset_batches(folder: Path, batch: int, crop: int, ending: str = "jpg") -> Batches:
    """From the tar files in `folder`. Raises ImportError without WebDataset."""
    from webdataset import WebDataset, WebLoader  # type: ignore[attr-defined]

    shards, transform = [str(path) for path in sorted(folder.glob("*.tar"))], crop_and_mirror(crop)

    def batches() -> Iterable[object]:
        images = WebDataset(shards, shardshuffle=100, nodesplitter=None)
        images = images.shuffle(1000).decode("pil").to_tuple(ending, "cls").map_tuple(transform, _unchanged)
        return WebLoader(images.batched(batch, partial=False), batch_size=None, num_workers=cores())

    return batches


def _unchanged(label: object) -> object:
    return label


LOADERS: dict[str, Callable[[Path, int, int], Batches]] = {
    "PyTorch DataLoader, torchvision": torchvision_batches,
    "WebDataset": webdataset_batches,
}
