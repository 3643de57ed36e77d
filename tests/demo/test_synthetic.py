"""The synthetic images: reproducible, labelled by three cues together, and written as files that open."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet.data.sources import open_source
from alexnet.demo import synthetic
from alexnet.demo.synthetic import CLASSES, COLOURS, PATTERNS, SHAPES, draw, draw_set

TRAIN, VAL = 24, 12


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    draw_set(folder, train=TRAIN, val=VAL, workers=1)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*.jpg"))}


def test_no_two_cues_are_enough() -> None:
    cues = [tuple(name.split("_")) for name in CLASSES]
    assert set(cues) == set(itertools.product(COLOURS, PATTERNS, SHAPES))
    for missing in range(3):
        rest = [cue[:missing] + cue[missing + 1 :] for cue in cues]
        assert min(rest.count(each) for each in rest) >= 2


def test_an_image_is_a_function_of_seed_split_and_index() -> None:
    one = draw(3, "train", 5, seed=1)
    np.testing.assert_array_equal(one, draw(3, "train", 5, seed=1))
    for other in (
        draw(3, "train", 5, seed=2),
        draw(3, "val", 5, seed=1),
        draw(3, "train", 6, seed=1),
    ):
        assert other.shape != one.shape or (other != one).mean() > 0.5


@pytest.mark.parametrize("label", range(len(CLASSES)))
def test_images_are_bytes_of_natural_sizes_and_not_flat(label: int) -> None:
    pixels = draw(label, "val", label)
    assert pixels.dtype == np.uint8
    assert pixels.shape[2] == 3
    assert all(128 <= side <= 200 for side in pixels.shape[:2])
    assert pixels.std() > 10


@pytest.mark.parametrize("index", range(8))
@pytest.mark.parametrize("cue", range(3))
def test_a_cue_changes_the_object_and_nothing_around_it(cue: int, index: int) -> None:
    """Images of one number differ in their object alone, which lies in the central square."""
    choices = (COLOURS, PATTERNS, SHAPES)[cue]
    words = ["red", "striped", "disc"]
    words[cue] = choices[0]
    first = draw(CLASSES.index("_".join(words)), "train", index)
    words[cue] = choices[1]
    second = draw(CLASSES.index("_".join(words)), "train", index)
    changed = np.asarray((np.abs(first.astype(int) - second) > 24).any(axis=2))
    assert 0.005 < changed.mean() < 0.5
    height, width = changed.shape[0], changed.shape[1]
    side, margin = min(height, width), 3
    rows, columns = np.nonzero(changed)
    assert abs(rows - height / 2).max() <= side / 2 + margin
    assert abs(columns - width / 2).max() <= side / 2 + margin


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_have_the_area_of_the_disc(shape: str) -> None:
    y, x = (axis.astype(np.float32) - 40 for axis in np.ogrid[:80, :80])
    area = synthetic._covered(synthetic._distance(shape, x, y, 15)).sum()
    assert area == pytest.approx(np.pi * 15**2, rel=0.01)


@pytest.mark.parametrize("pattern", [synthetic._stripes, synthetic._dots, synthetic._checks])
def test_patterns_cover_their_share_and_repeat(pattern) -> None:
    y, x = (axis.astype(np.float32) for axis in np.ogrid[:160, :160])
    share = 0.5 if pattern is synthetic._checks else 0.3
    coverage = pattern(x, y, 16, share)
    assert coverage.min() >= 0
    assert coverage.max() <= 1
    assert coverage.mean() == pytest.approx(share, abs=0.02)
    period = 32 if pattern is synthetic._checks else 16
    np.testing.assert_allclose(coverage[:, :period], coverage[:, period : 2 * period], atol=1e-4)


@pytest.mark.parametrize("name", COLOURS)
def test_named_colours_stay_apart(name: str) -> None:
    for seed in range(50):
        red, _, blue = synthetic._named_colour(np.random.default_rng(seed), name)
        assert (red > 1.5 * blue) == (name == "red")
        assert (blue > 1.5 * red) == (name == "blue")


def test_edges_are_anti_aliased() -> None:
    y, x = (axis.astype(np.float32) - 20 for axis in np.ogrid[:40, :40])
    coverage = synthetic._covered(synthetic._distance("disc", x, y, 10.3))
    between = (coverage > 0) & (coverage < 1)
    assert between.sum() > 40


def test_a_set_is_what_prepare_reads_with_equally_frequent_classes(drawn: Path) -> None:
    source = open_source(drawn)
    assert tuple(entry.wnid for entry in source.classes) == CLASSES
    for split, count in (("train", TRAIN), ("val", VAL)):
        labels = [entry.label for entry in source.splits[split]]
        assert np.bincount(labels).tolist() == [count // len(CLASSES)] * len(CLASSES)


def test_files_are_jpegs_of_their_class(drawn: Path) -> None:
    for name, data in files(drawn).items():
        split, wnid, file = Path(name).parts
        with Image.open(drawn / name) as image:
            assert image.format == "JPEG"
            stored = np.asarray(image).astype(int)
        assert data[:2] == b"\xff\xd8"
        expected = draw(CLASSES.index(wnid), split, int(Path(file).stem))
        assert stored.shape == expected.shape
        assert np.abs(stored - expected).mean() < 8


def test_several_processes_draw_what_one_draws(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "AT_ONCE", 12)
    draw_set(tmp_path, train=TRAIN, val=VAL, workers=2)
    assert files(tmp_path) == files(drawn)


def test_what_is_there_is_not_drawn_again(drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "draw", None)
    assert draw_set(drawn, train=TRAIN, val=VAL)["complete"]


def test_an_interrupted_set_is_completed(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(label: int, split: str, index: int, seed: int) -> np.ndarray:
        if split == "val":
            raise KeyboardInterrupt
        return draw(label, split, index, seed)

    with monkeypatch.context() as patch:
        patch.setattr(synthetic, "draw", stop)
        with pytest.raises(KeyboardInterrupt):
            draw_set(tmp_path, train=TRAIN, val=VAL, workers=1)
    assert not json.loads((tmp_path / synthetic.RECORD).read_text())["complete"]
    draw_set(tmp_path, train=TRAIN, val=VAL, workers=1)
    assert files(tmp_path) == files(drawn)


@pytest.mark.parametrize("what", ["seed", "count", "foreign", "damaged"])
def test_nothing_else_is_overwritten(what: str, tmp_path: Path) -> None:
    if what == "foreign":
        (tmp_path / "holiday.jpg").write_bytes(b"mine")
    else:
        draw_set(tmp_path, train=12, val=12, workers=1)
    if what == "damaged":
        (tmp_path / synthetic.RECORD).write_text("{")
    before = files(tmp_path)
    with pytest.raises(ValueError, match=tmp_path.name):
        draw_set(tmp_path, train=24 if what == "count" else 12, val=12, seed=int(what == "seed"), workers=1)
    assert files(tmp_path) == before
