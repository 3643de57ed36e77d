"""Where the store goes: nothing that exists is overwritten, and one process writes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from preparing import content

from alexnet.data.prepare import prepare as module
from alexnet.data.prepare.partial import PartialStore
from alexnet.data.prepare.prepare import prepare
from alexnet.data.sources.source import Source
from alexnet.data.store.verify import verify_store

pytestmark = pytest.mark.usefixtures("small_shards")


def test_an_existing_store_is_left_alone(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare(source, tmp_path / "store", size=16, workers=1)
    before = content(tmp_path / "store")
    monkeypatch.setattr(module, "_write_store", None)
    again = prepare(source, tmp_path / "store", size=16, workers=1)
    assert (first["already_there"], again["already_there"]) == (False, True)
    assert again["splits"] == first["splits"]
    assert content(tmp_path / "store") == before
    source.rename(tmp_path / "moved")
    assert prepare(source, tmp_path / "store", size=16, workers=1)["already_there"]


def test_a_store_that_another_process_has_made_meanwhile_is_left_alone(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not there yet when this process looked."""
    check = module.check_location

    def let_another_make_it(store: Path, opened: Source) -> None:
        monkeypatch.setattr(module, "check_location", check)
        prepare(source, store, size=16, workers=1)
        made.update(content(store))

    made: dict[str, bytes] = {}
    monkeypatch.setattr(module, "check_location", let_another_make_it)
    assert prepare(source, tmp_path / "store", size=16, workers=1)["already_there"]
    assert content(tmp_path / "store") == made
    assert not (tmp_path / "store.partial").exists()


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ("add", "had 30 images then and has 31 now"),
        ("remove", "had 30 .* has 29 now"),
        ("edit", "had 30 .* has 30 now"),
    ],
)
def test_a_source_that_has_changed_is_noticed(source: Path, tmp_path: Path, change: str, counts: str) -> None:
    prepare(source, tmp_path / "store", size=16, workers=1)
    before, file = content(tmp_path / "store"), source / "train/ant/00.png"
    match change:
        case "add":
            (source / "train/ant/new.png").write_bytes(file.read_bytes())
        case "remove":
            file.unlink()
        case "edit":
            Image.fromarray(np.zeros((33, 44, 3), np.uint8)).save(file)
    with pytest.raises(ValueError, match=f"The source has changed since .*store was made: .* {counts}.*Delete"):
        prepare(source, tmp_path / "store", size=16, workers=1)
    assert content(tmp_path / "store") == before
    with pytest.raises(ValueError, match="exists, made from"):
        prepare(source, tmp_path / "store", size=17, workers=1)


def test_a_note_is_no_change(source: Path, tmp_path: Path) -> None:
    prepare(source, tmp_path / "store", size=16, workers=1)
    (source / "train" / "README.md").write_text("where they come from")
    assert prepare(source, tmp_path / "store", size=16, workers=1)["already_there"]


def test_existing_files_are_never_overwritten(source: Path, tmp_path: Path) -> None:
    store, folder, file = tmp_path / "store", tmp_path / "folder", tmp_path / "file"
    prepare(source, store, size=16, workers=1)
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    file.write_text("mine")
    before = content(store), content(folder)
    for path, message in (
        (store, "exists, made from .* with size 16"),
        (folder, "exists and is not a store"),
        (file, "exists and is not a store"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            prepare(source, path, size=17, workers=1)
        assert "choose another name" in str(caught.value)
    assert (content(store), content(folder)) == before


def test_an_empty_folder_may_become_the_store(source: Path, tmp_path: Path) -> None:
    (tmp_path / "deep" / "store").mkdir(parents=True)
    prepare(source, tmp_path / "deep" / "store", size=16, workers=1)
    verify_store(tmp_path / "deep" / "store")


def test_only_one_process_writes_a_store(source: Path, tmp_path: Path) -> None:
    with (
        PartialStore(tmp_path / "store", 16, {}),
        pytest.raises(ValueError, match=r"Another alexnet prepare is writing .*store.partial"),
    ):
        prepare(source, tmp_path / "store", size=16, workers=1)
    prepare(source, tmp_path / "store", size=16, workers=1)


def test_a_store_among_the_images_is_refused(source: Path) -> None:
    with pytest.raises(ValueError, match=r"is inside .*images, where it would be taken for a class"):
        prepare(source, source / "store", size=16, workers=1)


@pytest.mark.parametrize(
    ("option", "value"),
    [("size", 0), ("workers", -1), ("max_bad", 1.5), ("max_bad", -0.1), ("quality", 0), ("quality", 101)],
)
def test_impossible_options_are_named(source: Path, tmp_path: Path, option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{option} is {value}"):
        prepare(source, tmp_path / "store", **{option: value})
    assert list(tmp_path.iterdir()) == [source]
