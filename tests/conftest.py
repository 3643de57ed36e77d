"""What all tests share: no window, no network, and the device of the CUDA kernels' tests.

`pytest --device cuda` runs those on a GPU. Otherwise Triton's interpreter runs the kernels, on a CPU.
"""

import os
import warnings

import pytest
import torch

os.environ["MPLBACKEND"] = "Agg"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
for cache in ("FX_GRAPH_CACHE", "AUTOGRAD_CACHE"):  # they do not see the gradients of our operators change
    os.environ[f"TORCHINDUCTOR_{cache}"] = "0"


def pytest_configure(config: pytest.Config) -> None:
    """Without a GPU, Triton interprets. Without a compiler, the libraries are opened here, once: later, their warning
    would be an error of whatever asks first."""
    if config.getoption("--device") == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported

    from alexnet.data.image import pixels
    from alexnet.model.cpu import kernels
    from alexnet.native import compiler

    if os.name == "posix" and compiler.command() is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kernels.available()
            pixels.library()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", choices=["cpu", "cuda"], default="cpu", help="where the CUDA kernels are tested")


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> torch.device:
    """Where the CUDA kernels are tested."""
    pytest.importorskip("triton", reason="Triton comes with PyTorch on Linux alone")
    name = str(request.config.getoption("--device"))
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    return torch.device(name)


@pytest.fixture
def large_tiles(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer programs for Triton's interpreter, whose time goes into each of them. On a GPU the tiles stay."""
    from alexnet.model.cuda import stage, update

    if device.type == "cpu":
        monkeypatch.setattr(stage, "LANES", 4096)
        monkeypatch.setattr(stage, "LINES", 32)
        monkeypatch.setattr(update, "MATRIX", (512, 512, 64, 4, 2))
