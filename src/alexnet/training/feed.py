"""A batch of the loader on the device, ready for the network (paper, sections 2 and 4.1)."""

import numpy as np
import torch
from torch import Tensor

from alexnet.config import AugmentConfig
from alexnet.data import augment
from alexnet.data.loader import Batch
from alexnet.model.cpu import kernels


def finish(
    batch: Batch, mean: Tensor, covariance: np.ndarray, config: AugmentConfig, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Bring a batch to the device as bytes and finish it there: [B, 3, crop, crop] of `dtype`, labels [B].

    `mean`, float32 [S, S, 3], is on the device. On CPUs, where the kernels can be called, they do what
    `augment.remove_mean` does elsewhere, to the same numbers.
    """
    shift = torch.from_numpy(augment.colour_shift(batch.colour, covariance, config.colour_scale)).to(device)
    patches = batch.patches.to(device, non_blocking=True)
    central = config.mean_crop == "central"
    divisor = 1 + config.colour_noise if config.colour_scale == "standard-deviations" else 1.0
    if kernels.usable(torch.empty(0, dtype=dtype, device=device)) and not central and divisor == 1:
        x = _remove_mean(patches, mean, batch.offsets, batch.mirrored, shift, dtype)
    else:
        x = augment.remove_mean(
            patches, mean, batch.offsets, batch.mirrored, shift, dtype, central=central, divisor=divisor
        )
    return x, batch.labels.to(device, non_blocking=True)


def _remove_mean(
    patches: Tensor, mean: Tensor, offsets: np.ndarray, mirrored: np.ndarray, shift: Tensor, dtype: torch.dtype
) -> Tensor:
    """`augment.remove_mean` by the kernel."""
    size, crop = mean.shape[0], patches.shape[1]
    assert patches.shape == (len(patches), crop, crop, 3) and patches.dtype == torch.uint8 and patches.is_contiguous()
    assert offsets.min(initial=0) >= 0 and offsets.max(initial=0) <= size - crop
    places, flags = np.ascontiguousarray(offsets, np.int64), np.ascontiguousarray(mirrored, np.uint8)
    assert places.shape == (len(patches), 2) and flags.shape == (len(patches),) and shift.shape == (len(patches), 3)
    x = torch.empty(patches.shape, dtype=dtype)
    given = patches, mean.contiguous(), mean.flip(1), torch.from_numpy(places), torch.from_numpy(flags), shift, x
    kernels.call("remove_mean", dtype, *given, len(patches), crop, size)
    return x.permute(0, 3, 1, 2)
