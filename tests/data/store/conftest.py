"""The store that most tests here read or damage."""

from pathlib import Path

import pytest
from stores import TRAIN, VAL, rows, write_store


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three training shards of 7, 9 and 1 rows in batches of 3, and one of validation."""
    for module in ("store.shard", "prepare.partial"):
        monkeypatch.setattr(f"alexnet.data.{module}.BATCH_ROWS", 3)
    every = rows(TRAIN)
    path = tmp_path / "store"
    write_store(path, [every[:7], every[7:16], every[16:]], [rows(VAL)], TRAIN)
    return path
