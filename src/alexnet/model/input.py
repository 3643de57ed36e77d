"""The network's input: crops of images as bytes, minus the mean image (paper, sections 2 and 4.1).

The only place where the mean is subtracted: for training, validation, evaluation and prediction. The mean image has one
value per pixel and channel, on the 0-255 scale. Sources of the variants: docs/specification.md, "The images" and
"Testing".
"""

import torch
from torch import Tensor

from alexnet.model.cpu import kernels


def network_input(
    crops: Tensor,
    mean: Tensor,
    offsets: Tensor,
    mirrored: Tensor,
    *,
    shift: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
    central: bool = False,
    divisor: float = 1.0,
) -> Tensor:
    """Subtract from each crop its part of the mean image, add its colour shift, and divide: [B, 3, C, C] of `dtype`.

    `crops` uint8 [B, C, C, 3], already mirrored where `mirrored`, bool [B], says so; `mean` float32 [S, S, 3];
    `offsets` int64 [B, 2], top and left of each crop in its image before mirroring; `shift` float32 [B, 3] (None: 0).
    The result is in channels-last memory, on the device of `crops`; the difference is computed in float32.

    What is subtracted is the crop of the mean image at the same offset, mirrored where the crop is. With `central`
    (original program) it is always the central one, never mirrored.
    """
    size, crop = mean.shape[0], crops.shape[1]
    assert crops.shape == (len(crops), crop, crop, 3) and crops.dtype == torch.uint8
    assert mean.shape == (size, size, 3) and mean.dtype == torch.float32
    assert offsets.shape == (len(crops), 2) and mirrored.shape == (len(crops),)
    if central:
        offsets, mirrored = torch.full_like(offsets, (size - crop) // 2), torch.zeros_like(mirrored)
    if shift is None:
        shift = torch.zeros(len(crops), 3, device=crops.device)
    if kernels.usable(torch.empty(0, dtype=dtype, device=crops.device)):
        x = _subtract_by_kernel(crops, mean, offsets, mirrored, shift, dtype)
    else:
        x = _subtract(crops, mean, offsets, mirrored, shift, dtype)
    if divisor != 1:
        x /= divisor
    return x.permute(0, 3, 1, 2)


def views(images: Tensor, mean: Tensor, crop: int, count: int, *, central: bool = False) -> Tensor:
    """The centre view (`count` 1) or the ten views of whole images, mean subtracted: float32 [B, count, 3, crop, crop].

    `images` uint8 [B, S, S, 3]; `mean` float32 [S, S, 3]; `central` as for `network_input`; `view_offsets` says which.
    """
    cuts = view_offsets(images.shape[1], crop, count)
    crops = [images[:, top : top + crop, left : left + crop] for top, left, _ in cuts]
    crops = [crop.flip(2) if mirrored else crop for crop, (*_, mirrored) in zip(crops, cuts, strict=True)]
    x = network_input(
        torch.stack(crops, dim=1).flatten(0, 1),  # [B * count, crop, crop, 3]
        mean,
        torch.tensor([cut[:2] for cut in cuts]).repeat(len(images), 1),
        torch.tensor([cut[2] for cut in cuts]).repeat(len(images)),
        central=central,
    )
    return x.unflatten(0, (len(images), count))


def view_offsets(size: int, crop: int, count: int) -> list[tuple[int, int, bool]]:
    """Top and left of each view in an image of `size` pixels, and whether it is mirrored.

    The ten views (section 4.1) are crops at the top left, top right, centre, bottom left and bottom right, then the
    mirror images of these five. `count` 1: the centre view.
    """
    assert count in (1, 10)
    edge = size - crop
    centre = edge // 2, edge // 2
    corners = [(0, 0), (0, edge), centre, (edge, 0), (edge, edge)]
    return [(*centre, False)] if count == 1 else [(*at, mirrored) for mirrored in (False, True) for at in corners]


def _subtract_by_kernel(
    crops: Tensor, mean: Tensor, offsets: Tensor, mirrored: Tensor, shift: Tensor, dtype: torch.dtype
) -> Tensor:
    """`_subtract` by the CPU kernel."""
    size, crop = mean.shape[0], crops.shape[1]
    assert len(crops) == 0 or (offsets.min() >= 0 and offsets.max() <= size - crop)
    x = torch.empty(crops.shape, dtype=dtype)
    tensors = [
        *(crops.contiguous(), mean.contiguous(), mean.flip(1)),
        *(offsets.to(torch.int64).contiguous(), mirrored.to(torch.uint8), shift.contiguous(), x),
    ]
    kernels.call("remove_mean", dtype, *tensors, len(crops), crop, size)
    return x


def _subtract(
    crops: Tensor, mean: Tensor, offsets: Tensor, mirrored: Tensor, shift: Tensor, dtype: torch.dtype
) -> Tensor:
    """Crops minus their parts of the mean image, plus the shift: [B, C, C, 3] of `dtype`."""
    size, crop = mean.shape[0], crops.shape[1]
    offsets, mirrored = offsets.to(crops.device), mirrored.to(crops.device)
    both = torch.stack([mean, mean.flip(1)])  # [2, S, S, 3]
    windows = both.unfold(1, crop, 1).unfold(2, crop, 1).permute(0, 1, 2, 4, 5, 3)  # [2, S-C+1, S-C+1, C, C, 3], a view
    top, left = offsets.unbind(1)
    left = torch.where(mirrored, size - crop - left, left)  # in the mirrored mean image
    subtracted = windows[mirrored.long(), top, left]  # [B, C, C, 3], a copy
    subtracted -= shift[:, None, None]
    x = torch.empty(crops.shape, dtype=dtype, device=crops.device)
    return torch.sub(crops, subtracted, out=x)
