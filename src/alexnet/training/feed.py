"""A batch of the loader on the device, ready for the network (paper, sections 2 and 4.1)."""

import numpy as np
import torch
from torch import Tensor

from alexnet.config import AugmentConfig
from alexnet.data import augment
from alexnet.data.loader import TrainingBatch
from alexnet.model.input import network_input


def finish(
    batch: TrainingBatch,
    mean: Tensor,
    covariance: np.ndarray,
    config: AugmentConfig,
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Bring a batch to the device as bytes and finish it there: [B, 3, crop, crop] of `dtype`, labels [B].

    `mean`, float32 [S, S, 3], is on the device.
    """
    shift = torch.from_numpy(augment.colour_shift(batch.colour_alphas, covariance, config.colour_scale)).to(device)
    x = network_input(
        batch.crops.to(device, non_blocking=True),
        mean,
        torch.from_numpy(batch.offsets),
        torch.from_numpy(batch.mirrored),
        shift=shift,
        dtype=dtype,
        central=config.mean_crop == "central",
        divisor=1 + config.colour_noise if config.colour_scale == "standard-deviations" else 1.0,
    )
    return x, batch.labels.to(device, non_blocking=True)
