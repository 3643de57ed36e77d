"""What the tests of preparing share: damaging a source, interrupting the work, comparing stores."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from alexnet.data.prepare import chunk
from alexnet.data.prepare.chunk import prepare_chunk

UNREADABLE = ("train/ant/04.png", "train/cat/01.png", "val/bee/00.png")


def damage(source: Path, keys: Sequence[str] = UNREADABLE) -> None:
    for key in keys:
        (source / key).write_bytes(b"no image")


def content(store: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(store.iterdir())}


def interrupt_at(monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException) -> list[str]:
    """Raise `error` instead of working on this chunk, once; return the keys of the images worked on."""
    worked, left = [], [number]

    def work(of: chunk.Chunk, options: chunk.ImageOptions) -> chunk.Prepared:
        if left and left[0] == 0:
            left.clear()
            raise error
        if left:
            left[0] -= 1
        worked.extend(image.key for image in of.images)
        return prepare_chunk(of, options)

    monkeypatch.setattr(chunk, "prepare_chunk", work)
    return worked
