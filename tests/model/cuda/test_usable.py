"""Where the CUDA kernels run, and the sentence that says why they do not."""

from collections.abc import Iterator

import pytest
import torch

from alexnet.model import cuda
from alexnet.model.lrn import LocalResponseNorm, lrn_plain
from alexnet.model.pooling import MaxPool2d
from alexnet.model.stage import fusible


@pytest.fixture(autouse=True)
def _a_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A card, as far as the questions go."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "GeForce GTX 580")
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(cuda.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(cuda.shutil, "which", lambda name: f"/usr/bin/{name}")
    cuda.why_unusable.cache_clear()
    yield
    cuda.why_unusable.cache_clear()


def test_they_run_on_a_card_with_triton_and_a_compiler() -> None:
    assert cuda.why_unusable(torch.device("cuda")) is None


@pytest.mark.parametrize("name", ["cpu", "mps"])
def test_there_are_none_for_other_devices(name: str) -> None:
    assert cuda.why_unusable(torch.device(name)) == f"there are none for {name}"


def test_there_are_none_for_rocm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "hip", "6.0")
    assert cuda.why_unusable(torch.device("cuda")) == "there are none for ROCm"


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (2, 0))
    assert "GeForce GTX 580 has less" in str(cuda.why_unusable(torch.device("cuda")))
    cuda.why_unusable.cache_clear()
    monkeypatch.setattr(cuda.shutil, "which", lambda name: None)
    assert "C compiler" in str(cuda.why_unusable(torch.device("cuda")))
    cuda.why_unusable.cache_clear()
    monkeypatch.setattr(cuda.importlib.util, "find_spec", lambda name: None)
    assert "Triton" in str(cuda.why_unusable(torch.device("cuda")))


@pytest.mark.parametrize("size", [1, 4, 11])
def test_pytorch_normalises_over_so_many_channels(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "takes", lambda x: True)
    x, norm = torch.rand(2, 12, 3, 3, dtype=torch.float64), LocalResponseNorm(size, groups=2)
    assert fusible(x, [torch.nn.ReLU(), norm, MaxPool2d(3, 2)]) == 1
    assert torch.equal(norm(x), lrn_plain(x, size, norm.alpha, norm.beta, norm.k, 2))


def test_tensors_elsewhere_are_not_taken() -> None:
    assert not cuda.takes(torch.zeros(3))
    assert not cuda.takes("no tensor")
