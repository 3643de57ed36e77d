"""`alexnet bench`."""

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from alexnet.cli.options import Answer, Device
from alexnet.ranges import BatchSize, Count, Pixels, Width

Measured = Literal["train", "infer", "load", "prepare", "kernels"]


def bench(
    what: Annotated[Measured, arg(metavar="[{train,infer,load,prepare,kernels}]")] = "train",
    /,
    *,
    network: str = "paper",
    input_size: Pixels | None = None,
    width: Width | None = None,
    batch_size: BatchSize | None = None,
    dtype: Literal["auto", "float32", "bfloat16"] = "auto",
    rounds: Count = 5,
    store: Path | None = None,
    source: Path | None = None,
    device: Device = "auto",
) -> Answer:
    """Measure throughput, and what fraction of this machine's limit it is.

    The limit is measured in the same run. For train and infer it is a convolution that suits the machine, for load and
    prepare libjpeg-turbo alone, for kernels (the memory-bound layers) and for loading small images, which are stored
    uncompressed, a copy of as many bytes.

    Example:
      alexnet bench
      alexnet bench infer --batch-size 1 --dtype float32
      alexnet bench load --store stores/imagenette
      alexnet bench train --store stores/imagenette
      alexnet bench train --input-size 112 --width 0.5 --batch-size 64

    Args:
        what: train (steps on one batch), infer (classification), load (batches from a store), prepare (a source into
            a store) or kernels.
        network: Network for train and infer (alexnet describe --help lists them).
        input_size: Height and width of the network's input, and of the crops that load makes; without it, the
            network's own for train and infer, seven eighths of the stored images for load.
        width: Multiple of the network's kernels and units, for train and infer.
        batch_size: Images per batch; without it, 128 for train and load, 64 for infer and kernels.
        dtype: Number format of activations and matrix multiplications; auto: the fastest one here.
        rounds: How often each form is measured; the median counts.
        store: Store for load; without it, synthetic images. With train, also measure steps fed from it, of
            a network with its classes.
        source: Folder of JPEG files for prepare; without it, synthetic images.
    """
    from alexnet.bench import bench as module

    result = module.bench(
        what,
        network_name=network,
        input_size=input_size,
        width=width,
        batch_size=batch_size,
        dtype=dtype,
        rounds=rounds,
        store=store,
        source=source,
        device=device,
    )
    return result, module.render
