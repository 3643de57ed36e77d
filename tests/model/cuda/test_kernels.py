"""The other Triton kernels against PyTorch's operations, or the definition in the source that they follow."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from alexnet.model.input import network_input
from alexnet.model.spatial_norm import spatial_norm_plain
from alexnet.training.metrics import top_k_credit

CROP, MEAN = 22, 30


def batch_in_slot_1(device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Crops, numbers, the mean image, the slot's number, and the network's input as `network_input` makes it."""
    random = torch.Generator().manual_seed(0)
    crops = torch.randint(0, 256, (2, 3, CROP, CROP, 3), dtype=torch.uint8, generator=random)
    mean = torch.rand(MEAN, MEAN, 3, generator=random) * 255
    offsets = torch.randint(0, MEAN - CROP + 1, (3, 2), generator=random)
    mirrored, shift = torch.tensor([True, False, True]), torch.randn(3, 3, generator=random)
    numbers = torch.zeros(2, 3, 8)
    numbers[1, :, :2], numbers[1, :, 2], numbers[1, :, 4:7], numbers[1, :, 7] = offsets, mirrored.float(), shift, 1.1
    wanted = network_input(crops[1], mean, offsets, mirrored, shift=shift, divisor=1.1)
    return crops.to(device), numbers.to(device), mean.to(device), torch.tensor([1], device=device), wanted


def test_the_input_in_blocks_of_pixels(device: torch.device) -> None:
    from alexnet.model.cuda.input import network_input as kernel

    crops, numbers, mean, slot, wanted = batch_in_slot_1(device)
    x = torch.full((3, 6, 6, 64), 7.0, device=device)
    kernel(crops, numbers, mean, slot, x, side=4, padding=0)
    blocks = F.pad(wanted, (0, 2, 0, 2)).unflatten(3, (6, 4)).unflatten(2, (6, 4))  # [B, C, Y, y, X, x]
    blocks = blocks.permute(0, 2, 4, 3, 5, 1).flatten(3)
    torch.testing.assert_close(x[..., :48].cpu(), blocks, rtol=1e-6, atol=1e-5)
    assert (x[..., 48:] == 7).all()  # channels that only fill memory are left alone


def test_the_input_pixel_by_pixel_with_zeros_around(device: torch.device) -> None:
    from alexnet.model.cuda.input import network_input as kernel

    crops, numbers, mean, slot, wanted = batch_in_slot_1(device)
    x = torch.full((3, CROP + 3, CROP + 3, 3), 7.0, device=device)
    kernel(crops, numbers, mean, slot, x, side=1, padding=2)
    torch.testing.assert_close(x.cpu(), F.pad(wanted, (2, 1, 2, 1)).permute(0, 2, 3, 1), rtol=1e-6, atol=1e-5)


def philox(key: int, counter: int, layer: int) -> int:
    """The first number of Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011)."""
    low, high, c = key & 0xFFFFFFFF, key >> 32, [counter, layer, 0, 0]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ low, b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ high, a & 0xFFFFFFFF]
        low, high = (low + 0x9E3779B9) & 0xFFFFFFFF, (high + 0xBB67AE85) & 0xFFFFFFFF
    return c[0]


def test_dropout_is_the_function_that_it_says(device: torch.device) -> None:
    from alexnet.model.cuda.dropout import dropout_

    seed, x = 12345678901234, torch.ones(20, 30, device=device)
    dropout_(x, torch.tensor([seed], device=device), layer=7, p=0.3, scale=2.0)
    kept = [philox(seed, i, 7) >= round(0.3 * 2**32) for i in range(600)]
    assert x.flatten().tolist() == [2.0 if each else 0.0 for each in kept]


def test_the_loss_its_gradient_and_the_error_with_ties(device: torch.device) -> None:
    from alexnet.model.cuda.loss import cross_entropy

    logits, labels = torch.randn(4, 10) * 3, torch.tensor([1, 4, 9, 2])
    logits[1, 4] = logits[1, 3] = logits[1].max() + 1  # a tie of the right class with another
    logits[3, 2] = logits[3].max() + 1
    numbers = torch.zeros(2, 4, 8)
    numbers[1, :, 3] = labels
    g, each = torch.zeros(4, 10, device=device), torch.zeros(2, 4, device=device)
    cross_entropy(logits.to(device), numbers.to(device), torch.tensor([1], device=device), g, each)
    exact = logits.double().requires_grad_()
    F.cross_entropy(exact, labels).backward()
    torch.testing.assert_close(each[0].cpu(), F.cross_entropy(logits, labels, reduction="none"), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(g.cpu().double(), exact.grad, rtol=1e-5, atol=1e-7)
    assert each[1].tolist() == (1 - top_k_credit(logits, labels, 1)).tolist()


def test_a_logit_that_is_not_finite_is_an_error_and_a_loss_that_is_not(device: torch.device) -> None:
    from alexnet.model.cuda.loss import cross_entropy

    logits = torch.randn(1, 10, device=device)
    logits[0, 5] = torch.nan
    g, each = torch.zeros(1, 10, device=device), torch.zeros(2, 1, device=device)
    cross_entropy(
        logits, torch.zeros(1, 1, 8, device=device), torch.zeros(1, dtype=torch.int64, device=device), g, each
    )
    assert each[0].isnan().all() and each[1].item() == 1


RATE, DECAY, MOMENTUM = 0.01, 0.5, 0.9


def paper_update(w: Tensor, v: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    v = MOMENTUM * v.double() - DECAY * RATE * w.double() - RATE * g.double()
    return w.double() + v, v


@pytest.mark.parametrize("batch", [13, 300])
def test_the_update_of_a_matrix_computes_its_gradient(batch: int, device: torch.device) -> None:
    from alexnet.model.cuda import update

    w, v = torch.randn(70, 150, device=device), torch.randn(70, 150, device=device)
    x, g = torch.randn(batch, 150, device=device), torch.randn(batch, 70, device=device) / batch
    wanted = paper_update(w, v, g.double().t() @ x.double())
    operand, rates = torch.empty(70, 150, device=device), torch.tensor([RATE, DECAY], device=device)
    update.update_matrix(w, v, x, g, operand, rates, MOMENTUM)
    for got, right in zip((w, v), wanted, strict=True):
        torch.testing.assert_close(got.double(), right, rtol=1e-5, atol=1e-5)
    assert (operand == w).all()


def test_the_update_of_a_weight_finds_its_gradient_in_another_layout(device: torch.device) -> None:
    from alexnet.model.cuda import update

    w, v = torch.randn(8, 3, 5, device=device), torch.randn(8, 3, 5, device=device)
    g = [torch.randn(4, 3, 5, device=device) for _ in range(2)]  # two towers
    operand = torch.full((2, 4, 5, 4), 7.0, device=device)  # channels last, and one more
    o, i, k = torch.meshgrid(torch.arange(8), torch.arange(3), torch.arange(5), indexing="ij")
    positions = ((o * 5 + k) * 4 + i).int().to(device)
    laid_out = [F.pad(t, (0, 0, 0, 1)).permute(0, 2, 1).contiguous() for t in g]
    wanted = paper_update(w, v, torch.cat(g))
    rates = torch.tensor([RATE, DECAY], device=device)
    update.update_weight(w, v, laid_out, operand, positions, rates, MOMENTUM)
    torch.testing.assert_close(w.double(), wanted[0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(v.double(), wanted[1], rtol=1e-6, atol=1e-6)
    assert (operand[..., :3].permute(0, 1, 3, 2).reshape(8, 3, 5) == w).all()
    assert (operand[..., 3] == 7).all()


def test_the_update_of_a_bias_adds_the_parts_of_its_gradient(device: torch.device) -> None:
    from alexnet.model.cuda import update

    w, v, parts = torch.randn(70, device=device), torch.randn(70, device=device), torch.randn(600, 70, device=device)
    wanted = paper_update(w, v, parts.double().sum(0))
    operand = torch.empty(70, device=device)
    update.update_bias(w, v, parts, operand, torch.tensor([RATE, DECAY], device=device), MOMENTUM)
    torch.testing.assert_close(w.double(), wanted[0], rtol=1e-5, atol=1e-5)
    assert (operand == w).all()


def test_a_learning_rate_of_0_freezes(device: torch.device) -> None:
    from alexnet.model.cuda import update

    w, v, g = (torch.randn(64, 64, device=device) for _ in range(3))
    before, operand, rates = w.clone(), torch.zeros(64, 64, device=device), torch.tensor([0.0, DECAY], device=device)
    update.update_matrix(w, v, g, g, operand, rates, MOMENTUM)
    assert (w == before).all()


def test_spatial_norm_and_its_gradient(device: torch.device) -> None:
    from alexnet.model.cuda import spatial_norm

    x, g = torch.randn(2, 7, 6, 5) * 4, torch.randn(2, 7, 6, 5)
    exact = x.double().permute(0, 3, 1, 2).requires_grad_()
    wanted = spatial_norm_plain(exact, 5, 0.3, 0.75)
    wanted.backward(g.double().permute(0, 3, 1, 2))
    x, g = x.to(device), g.to(device)
    y, dx = torch.empty_like(x), torch.empty_like(x)
    spatial_norm.forward(x, y, 5, 0.3)
    spatial_norm.backward(x, g, dx, 5, 0.3)
    torch.testing.assert_close(y.permute(0, 3, 1, 2).cpu().double(), wanted.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(dx.permute(0, 3, 1, 2).cpu().double(), exact.grad, rtol=1e-5, atol=1e-5)
