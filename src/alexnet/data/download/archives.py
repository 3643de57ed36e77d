"""The public data sets that can be downloaded: their addresses, lengths and checksums.

Lengths and SHA-256 are those that TensorFlow Datasets publishes for the same addresses (Tiny ImageNet, which is not
there: those that its users publish). The data sets' own pages and torchvision give MD5 alone.
"""

from pathlib import PurePosixPath
from types import MappingProxyType
from typing import NamedTuple


class Archive(NamedTuple):
    """A data set in one archive, all of it in one folder."""

    about: str
    address: str
    length: int
    """Bytes."""
    sha256: str
    folder: str
    size: int
    """Height and width of the images that a store should have, in pixels."""

    @property
    def file(self) -> str:
        """The archive's file name."""
        return PurePosixPath(self.address).name


ARCHIVES = MappingProxyType(
    {
        "cifar10": Archive(
            "60,000 images of 32 pixels, 10 classes",  # as bytes: the archive for Python holds pickles
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            170_052_171,
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            "cifar-10-batches-bin",
            32,
        ),
        "imagenette": Archive(
            "13,394 photographs of 10 easy ImageNet classes, shorter side 160 pixels",
            "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz",
            99_003_388,
            "64d0c4859f35a461889e0147755a999a48b49bf38a7e0f9bd27003f10db02fe5",
            "imagenette2-160",
            256,
        ),
        "imagenette-320": Archive(
            "the same, shorter side 320 pixels",
            "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-320.tgz",
            341_663_724,
            "569b4497c98db6dd29f335d1f109cf315fe127053cedf69010d047f0188e158c",
            "imagenette2-320",
            256,
        ),
        "imagenette-full": Archive(
            "the same, as large as in ImageNet",
            "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2.tgz",
            1_557_161_267,
            "6cbfac238434d89fe99e651496f0812ebc7a10fa62bd42d6874042bf01de4efd",
            "imagenette2",
            256,
        ),
        "tiny-imagenet": Archive(
            "110,000 images of 64 pixels with labels, 200 ImageNet classes",
            "https://cs231n.stanford.edu/tiny-imagenet-200.zip",
            248_100_043,
            "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821",
            "tiny-imagenet-200",
            64,
        ),
    }
)
