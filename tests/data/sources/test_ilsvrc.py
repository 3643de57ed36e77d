"""ILSVRC-2012 as published, against torchvision's reading of it."""

import gzip
import io
import shutil
import tarfile
from pathlib import Path

import miniature
import pytest
from miniature import fingerprint

from alexnet.data.sources import Source, open_source, read_bytes
from alexnet.data.sources.devkit import read_devkit
from alexnet.data.sources.ilsvrc import DEVKIT, TRAIN, VAL


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    return miniature.ilsvrc2012(tmp_path / "archives")


def read_all(source: Source) -> None:
    for split in source.splits.values():
        for image in split:
            read_bytes(image.location)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torchvision unpacks tars without saying which filter
@pytest.mark.parametrize("split", ["train", "val"])
def test_labels_and_images_are_those_of_torchvision(
    archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str
) -> None:
    from torchvision.datasets import imagenet

    published = {name: (file, None) for name, (file, _) in imagenet.ARCHIVE_META.items()}
    monkeypatch.setattr(imagenet, "ARCHIVE_META", published)  # the checksums are those of the real archives
    theirs = imagenet.ImageNet(shutil.copytree(archives, tmp_path / "unpacked"), split)
    source = open_source(archives)
    assert [each.wnid for each in source.classes] == theirs.wnids
    assert [tuple(each.name.split(", ")) for each in source.classes] == theirs.classes
    expected = {Path(file).name: (label, fingerprint(Path(file).read_bytes())) for file, label in theirs.samples}
    found = {Path(p.key).name: (p.label, fingerprint(read_bytes(p.location))) for p in source.splits[split]}
    assert found == expected
    assert len(expected) == len(list(source.splits[split])) == source.splits[split].count


def test_images_are_read_from_the_archives_and_nothing_is_written(archives: Path) -> None:
    before = sorted(archives.parent.rglob("*"))
    train, val = miniature.train_files(), miniature.val_files()
    source = open_source(archives)
    for image in source.splits["train"]:
        _, wnid, name = image.key.split("/")
        assert fingerprint(read_bytes(image.location)) == fingerprint(train[wnid][name])
    for image in source.splits["val"]:
        expected = val[image.key.removeprefix("val/")]
        assert fingerprint(read_bytes(image.location)) == fingerprint(expected)
    assert sorted(archives.parent.rglob("*")) == before


def test_the_order_of_the_devkit_and_of_the_archives_does_not_matter(archives: Path, tmp_path: Path) -> None:
    expected = [list(split) for split in open_source(archives).splits.values()]
    other = tmp_path / "other"
    other.mkdir()
    train = {
        f"{wnid}.tar": miniature.tar_bytes(files.items()) for wnid, files in reversed(miniature.train_files().items())
    }
    (other / TRAIN).write_bytes(miniature.tar_bytes(train.items()))
    (other / VAL).write_bytes(miniature.tar_bytes(reversed(miniature.val_files().items())))
    renumbered = [(9 - number, wnid, words) for number, wnid, words in miniature.LEAVES]
    miniature.devkit(other / DEVKIT, miniature.meta_mat(renumbered[::-1]), [9 - n for n in miniature.TRUTH])
    found = [list(split) for split in open_source(other).splits.values()]
    for ours, theirs in zip(found, expected, strict=True):
        assert {p.key: p.label for p in ours} == {p.key: p.label for p in theirs}


def test_synsets_with_children_are_not_classes(archives: Path) -> None:
    synsets, truth = read_devkit(archives / DEVKIT)
    assert [each.wnid for each in synsets] == sorted(wnid for _, wnid, _ in miniature.LEAVES)
    assert {each.wnid: each.number for each in synsets} == {w: n for n, w, _ in miniature.LEAVES}
    assert truth == list(miniature.TRUTH)


@pytest.mark.parametrize("name", [TRAIN, VAL, DEVKIT])
def test_a_missing_archive_is_named(archives: Path, name: str) -> None:
    (archives / name).unlink()
    with pytest.raises(ValueError, match=rf"{archives} has no {name}: .* put it there"):
        open_source(archives)


def test_archives_beside_unpacked_images_are_ignored(archives: Path) -> None:
    (archives / TRAIN).unlink()
    miniature.folder(archives, {"train/a": 1, "train/b": 1, "val/a": 1, "val/b": 1})
    assert open_source(archives).kind == "folder"


def test_without_validation_images_a_fraction_of_every_class_can_be_held_out(archives: Path) -> None:
    everything = {p.key: p.label for p in open_source(archives).splits["train"]}
    (archives / VAL).unlink()
    source = open_source(archives, 0.3, seed=5)
    train, val = ({p.key: p.label for p in split} for split in source.splits.values())
    assert train | val == everything
    assert not train.keys() & val.keys()
    assert sorted(val.values()) == [0, 1, 2, 2, 3, 4]  # of 3, 3, 3 + 4 odd ones, 3 and 3
    assert (source.splits["train"].count, source.splits["val"].count) == (len(train), len(val))
    assert set(open_source(archives, 0.0).splits) == {"train"}


@pytest.mark.parametrize("name", [TRAIN, VAL])
def test_an_archive_truncated_anywhere_is_noticed_at_once(archives: Path, name: str) -> None:
    whole = (archives / name).read_bytes()
    with tarfile.open(archives / name) as archive:
        last = archive.getmembers()[-1]
    end = last.offset_data + -(-last.size // 512) * 512
    for size in {*range(0, end, end // 40), end - 512, end - 1, end}:
        (archives / name).write_bytes(whole[:size])
        with pytest.raises(ValueError, match=f"{name} is damaged or cut off.*: download it again"):
            open_source(archives)


def test_a_truncated_tar_inside_a_whole_one_is_noticed(archives: Path) -> None:
    inner = miniature.tar_bytes(miniature.train_files()["n02100735"].items())
    for size in (700, 1024, 3000):
        (archives / TRAIN).write_bytes(miniature.tar_bytes([("n02100735.tar", inner[:size])]))
        with pytest.raises(ValueError, match=f"{TRAIN} is damaged or cut off.*: download it again"):
            read_all(open_source(archives))


def test_a_damaged_header_is_not_taken_for_the_end(archives: Path) -> None:
    content = bytearray((archives / VAL).read_bytes())
    with tarfile.open(archives / VAL) as archive:
        header = archive.getmembers()[3].offset
    content[header : header + 8] = b"\xff" * 8
    (archives / VAL).write_bytes(content)
    with pytest.raises(ValueError, match=f"{VAL} is damaged"):
        read_all(open_source(archives))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is damaged or cut off"),
        (b"no archive", "is damaged or cut off"),
        (gzip.compress(miniature.tar_bytes([("a", b"b")])), "does not contain meta.mat"),
    ],
    ids=["empty", "text", "another archive"],
)
def test_another_file_in_place_of_the_devkit_is_refused(archives: Path, content: bytes, message: str) -> None:
    (archives / DEVKIT).write_bytes(content)
    with pytest.raises(ValueError, match=f"{DEVKIT} {message}.*download"):
        open_source(archives)


def test_a_damaged_devkit_is_refused(archives: Path) -> None:
    whole = (archives / DEVKIT).read_bytes()
    (archives / DEVKIT).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=f"{DEVKIT} is damaged or cut off.*: download it again"):
        open_source(archives)
    miniature.devkit(archives / DEVKIT, meta=miniature.meta_mat()[:300])
    with pytest.raises(ValueError, match=f"{DEVKIT} cannot be understood"):
        open_source(archives)
    miniature.devkit(archives / DEVKIT, meta=b"\x80\x04cposix\nsystem\n")  # a pickle is not even looked at
    with pytest.raises(ValueError, match=f"{DEVKIT} cannot be understood"):
        open_source(archives)
    miniature.devkit(archives / DEVKIT, truth=[1, 6])
    with pytest.raises(ValueError, match=r"name class 6, which meta.mat does not have"):
        open_source(archives)


def test_member_names_are_refused_or_used_only_as_keys(archives: Path) -> None:
    before = sorted(archives.parent.rglob("*"))
    wnid = "n02100735"
    inner = miniature.tar_bytes(
        {"../../up.JPEG": b"one", "/abs.JPEG": b"two", "./here.JPEG": b"three", "._x": b"four"}.items()
    )
    (archives / TRAIN).write_bytes(miniature.tar_bytes([(f"./{wnid}.tar", inner)]))
    source = open_source(archives)
    found = {p.key: read_bytes(p.location) for p in source.splits["train"]}
    assert found == {
        f"train/{wnid}/../../up.JPEG": b"one",
        f"train/{wnid}//abs.JPEG": b"two",
        f"train/{wnid}/here.JPEG": b"three",
    }
    assert sorted(archives.parent.rglob("*")) == before
    (archives / TRAIN).write_bytes(miniature.tar_bytes([("n99999999.tar", inner)]))
    with pytest.raises(ValueError, match=f"{TRAIN} holds n99999999.tar, which is not a class"):
        open_source(archives)


def test_a_validation_image_without_a_label_is_refused(archives: Path) -> None:
    for name in ("ILSVRC2012_val_00000009.JPEG", "ILSVRC2012_val_00000000.JPEG", "cat.JPEG"):
        (archives / VAL).write_bytes(miniature.tar_bytes([*miniature.val_files().items(), (name, b"?")]))
        with pytest.raises(ValueError, match=f"{VAL} holds {name}, for which"):
            read_all(open_source(archives))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_archives_are_refused(archives: Path, kind: bytes) -> None:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as archive:
        link = tarfile.TarInfo("n02100735_1.JPEG")
        link.type, link.linkname = kind, "/etc/passwd"
        archive.addfile(link)
    (archives / TRAIN).write_bytes(miniature.tar_bytes([("n02100735.tar", inner.getvalue())]))
    with pytest.raises(ValueError, match=f"{TRAIN} holds n02100735_1.JPEG, a link or device: .* are not followed"):
        read_all(open_source(archives))


@pytest.mark.parametrize("size", [-1, -512, -(2**63)])
def test_a_member_of_negative_size_causes_no_endless_loop(archives: Path, size: int) -> None:
    content = bytearray((archives / VAL).read_bytes())
    with tarfile.open(archives / VAL) as archive:
        header = archive.getmembers()[2].offset
    content[header + 124 : header + 136] = b"\xff" + (size % (1 << 88)).to_bytes(11, "big")
    content[header + 148 : header + 156] = b" " * 8
    content[header + 148 : header + 156] = b"%06o\0 " % sum(content[header : header + 512])
    (archives / VAL).write_bytes(content)
    with pytest.raises(ValueError, match=f"{VAL} is damaged"):
        read_all(open_source(archives))


def test_an_archive_with_a_name_twice_is_refused(archives: Path) -> None:
    inner = miniature.tar_bytes([("a.JPEG", b"one"), ("b.JPEG", b"two"), ("a.JPEG", b"three")])
    (archives / TRAIN).write_bytes(miniature.tar_bytes([("n02100735.tar", inner)]))
    with pytest.raises(ValueError, match=f"{TRAIN} holds n02100735/a.JPEG twice"):
        read_all(open_source(archives))
    (archives / TRAIN).write_bytes(miniature.tar_bytes([("n02100735.tar", inner), ("n02100735.tar", inner)]))
    with pytest.raises(ValueError, match=f"{TRAIN} holds n02100735.tar twice"):
        open_source(archives)


def test_a_validation_image_that_occurs_twice_is_refused(archives: Path) -> None:
    files = [*miniature.val_files().items()]
    (archives / VAL).write_bytes(miniature.tar_bytes([*files, ("other/" + files[2][0], b"?")]))
    with pytest.raises(ValueError, match=f"{VAL} holds image 00000003 twice"):
        list(open_source(archives).splits["val"])


def test_names_in_archives_that_are_not_utf8_become_keys(archives: Path) -> None:
    name = b"caf\xe9\n.JPEG".decode("utf-8", "surrogateescape")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as archive:
        member = tarfile.TarInfo(name)
        member.size = 3
        archive.addfile(member, io.BytesIO(b"one"))
    (archives / TRAIN).write_bytes(miniature.tar_bytes([("n02100735.tar", buffer.getvalue())]))
    (image,) = open_source(archives).splits["train"]
    assert image.key == "train/n02100735/caf\\xe9\\n.JPEG"
    assert read_bytes(image.location) == b"one"
