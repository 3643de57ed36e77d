"""A small run, for all tests of the room."""

from pathlib import Path

import pytest
from small_runs import write


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run of the paper's network."""
    return write(tmp_path_factory.mktemp("runs") / "run")
