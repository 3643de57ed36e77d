"""Archives of strangers write plain files below their one folder, and nothing else anywhere."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from alexnet.data.download import unpack as module
from alexnet.data.download.unpack import unpack

HOSTILE = {
    "../x": "outside its folder",
    "top/../../x": "outside its folder",
    "/tmp/x": "outside its folder",
    "other/x": "outside its folder",
    "top": "outside its folder",
    "top/\x1b[2J/../../x": r"outside its folder top: top/\\x1b",
}


def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 4) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size if kind == tarfile.REGTYPE else 0, "/etc/passwd"
    return info


def tar(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for info in members:
            archive.addfile(info, io.BytesIO(b"data"))
    return path


def zipped(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"data")
    return path


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


@pytest.mark.parametrize("make", ["tar", "zip"])
def test_files_come_out_in_their_folders(tmp_path: Path, make: str) -> None:
    names = ("top/a/1", "./top/a/2", "top/b/1")
    if make == "tar":
        archive = tar(tmp_path / "x.tgz", member("top", tarfile.DIRTYPE), *map(member, names))
    else:
        archive = zipped(tmp_path / "x.zip", "top/", *names)
    unpack(archive, tmp_path / "out", "top")
    assert files(tmp_path / "out") == ["top/a/1", "top/a/2", "top/b/1"]
    assert (tmp_path / "out/top/a/2").read_bytes() == b"data"


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("make", ["tar", "zip"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, make: str, name: str) -> None:
    archive = tar(tmp_path / "x.tgz", member(name)) if make == "tar" else zipped(tmp_path / "x.zip", name)
    with pytest.raises(ValueError, match=HOSTILE[name]):
        unpack(archive, tmp_path / "out/in", "top")
    assert files(tmp_path) == [archive.name]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_pipes_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    archive = tar(tmp_path / "x.tgz", member("top/a", kind), member("top/a/passwd"))
    with pytest.raises(ValueError, match="holds a link or a device: top/a"):
        unpack(archive, tmp_path / "out", "top")
    assert files(tmp_path) == ["x.tgz"]


def test_a_link_in_a_zip_becomes_a_plain_file(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("top/a")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, b"/etc/passwd")
    unpack(tmp_path / "x.zip", tmp_path / "out", "top")
    assert not (tmp_path / "out/top/a").is_symlink()
    assert (tmp_path / "out/top/a").read_bytes() == b"/etc/passwd"


def test_a_file_that_comes_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds a file twice"):
        unpack(tar(tmp_path / "x.tgz", member("top/a"), member("top/a")), tmp_path / "out", "top")


def test_what_expands_to_more_than_a_data_set_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tar(tmp_path / "x.tgz", *(member(f"top/{i}") for i in range(10)))
    for limit in ("MOST_FILES", "LARGEST"):
        with monkeypatch.context() as context:
            context.setattr(module, limit, 5)
            with pytest.raises(ValueError, match="holds more than a data set"):
                unpack(archive, tmp_path / limit, "top")
        assert len(files(tmp_path / limit)) <= 6


@pytest.mark.parametrize("ending", ["tgz", "zip"])
def test_a_damaged_archive_is_named(tmp_path: Path, ending: str) -> None:
    names = [f"top/{i}" for i in range(100)]
    path = tmp_path / f"x.{ending}"
    whole = (tar(path, *map(member, names)) if ending == "tgz" else zipped(path, *names)).read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:30] + bytes(50) + whole[80:], b"<html>"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"x\.{ending} is damaged"):
            unpack(path, tmp_path / "out", "top")


@pytest.mark.parametrize("how", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_that_is_packed_in_another_way_is_refused(tmp_path: Path, how: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", how) as archive:
        archive.writestr("top/a.jpg", b"a")
    with pytest.raises(ValueError, match="packed in an unusual way"):
        unpack(tmp_path / "a.zip", tmp_path / "out", "top")


def test_a_zip_of_another_version_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("top/a.jpg", b"a")
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[data.index(b"PK\1\2") + 6] = 255  # the version that is needed to unpack it
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(ValueError, match=r"is damaged \(zip file version"):
        unpack(tmp_path / "a.zip", tmp_path / "out", "top")
