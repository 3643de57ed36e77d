"""Sources that are a stream of records: what is counted, bounded and noticed."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from alexnet.data.sources import records
from alexnet.data.sources.records import Record, open_records
from alexnet.data.sources.source import Choices, FileAt, Source

HERE = Path("somewhere")


def stream(count: int, label: Callable[[int], str] = lambda n: f"class {n % 3}") -> Callable[[], Iterator[Record]]:
    return lambda: (Record(f"{n}.jpg", label(n), FileAt(f"{n}.jpg")) for n in range(count))


def opened(made: Callable[[], Iterator[Record]], fraction: float | None = None, seed: int = 0) -> Source:
    return open_records("made", HERE, made, Choices(fraction, seed))


def test_as_many_records_as_there_may_be_are_read_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MOST_RECORDS", 30)
    assert opened(stream(30)).contents.images == 30
    with pytest.raises(ValueError, match="more than 30 records"):
        opened(stream(31))


def test_as_many_classes_as_there_may_be_are_read_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MOST_CLASSES", 10)
    assert len(opened(stream(40, lambda n: str(n % 10))).classes) == 10
    with pytest.raises(ValueError, match=r"more than 10 different labels, such as 10: choose another column"):
        opened(stream(40, lambda n: str(n % 11)))
    assert len(opened(stream(4, lambda n: str(n % 2) * 1000)).classes) == 2
    with pytest.raises(ValueError, match="is longer than 1,000 letters"):
        opened(stream(4, lambda n: str(n % 2) * 1001))


@pytest.mark.parametrize("fraction", [None, 0.0, 0.25, 0.9])
def test_a_fraction_of_every_class_is_held_out_and_never_all_of_it(fraction: float | None) -> None:
    made = stream(101, lambda n: "alone" if n == 100 else f"class {n % 3}")
    source = opened(made, fraction)
    counts = {name: [0] * 4 for name in source.splits}
    for name, split in source.splits.items():
        for image in split:
            counts[name][image.label] += 1
    held = {None: [0, 3, 3, 3], 0.0: [], 0.25: [0, 8, 8, 8], 0.9: [0, 31, 30, 30]}[fraction]
    expected = [1, 34, 33, 33]
    assert counts.get("val", []) == held
    assert counts["train"] == [a - b for a, b in zip(expected, held or [0] * 4, strict=True)]


def test_records_that_change_between_two_passes_are_noticed() -> None:
    left = [30]

    def shrinking() -> Iterator[Record]:
        yield from stream(left[0])()
        left[0] = 29

    source = opened(shrinking)
    with pytest.raises(ValueError, match="has changed while it was read"):
        list(source.splits["train"])
    grown = [30]

    def growing() -> Iterator[Record]:
        yield from stream(grown[0])()
        grown[0] = 31

    source = opened(growing)
    with pytest.raises(ValueError, match="has changed while it was read"):
        list(source.splits["train"])
