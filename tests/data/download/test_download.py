"""A data set is there whole or not at all, resumes, and goes straight into `prepare`."""

import contextlib
import hashlib
import io
import os
import re
import shlex
import signal
import subprocess
import sys
import tarfile
import threading
import typing
import zipfile
from collections.abc import Iterator
from pathlib import Path

import miniature
import numpy as np
import pytest
from file_server import FileServer, serve
from PIL import Image

from alexnet.cli import COMMANDS, main
from alexnet.data.download.archives import ARCHIVES, Archive
from alexnet.data.download.download import download, render
from alexnet.data.store.reader import Store
from alexnet.files import lock
from alexnet.files.durable import NEW

TOP = "imagenette2-160"


def data_set() -> bytes:
    """A tgz laid out as Imagenette's."""
    out, random = io.BytesIO(), np.random.default_rng(0)
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for split, count in (("train", 6), ("val", 2)):
            for wnid in ("n01440764", "n02102040"):
                for i in range(count):
                    image = io.BytesIO()
                    Image.fromarray(random.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(image, "JPEG")
                    info = tarfile.TarInfo(f"{TOP}/{split}/{wnid}/{i}.JPEG")
                    info.size = image.tell()
                    archive.addfile(info, io.BytesIO(image.getvalue()))
    return out.getvalue()


CONTENT = data_set()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve(CONTENT) as server:
        yield server


def archives(server: FileServer, **changes: typing.Any) -> dict[str, Archive]:
    """The registry with a data set of the test's own."""
    digest = hashlib.sha256(CONTENT).hexdigest()
    own = Archive("test", server.address + ".tgz", len(CONTENT), digest, TOP, 40)
    return {"imagenette": own._replace(**changes)}


def test_a_data_set_goes_straight_into_prepare(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    result = download("imagenette", Path("data"), archives=archives(server))
    assert result["downloaded"] and result["folder"] == f"data/{TOP}"
    assert sorted(path.name for path in Path("data").iterdir()) == [TOP]  # no archive, and nothing half done
    program, *command = shlex.split(result["next"])
    assert program == "alexnet"
    assert main([*command, "--workers", "1", "--json"]) == 0
    assert '"images": 12' in capsys.readouterr().out

    again = download("imagenette", Path("data"), archives=archives(server))
    assert again == result | {"downloaded": False}
    assert len(server.asked) == 1
    with contextlib.redirect_stdout(io.StringIO()):
        assert render(again) is not None


def packed(folder: Path, name: str) -> bytes:
    """A folder as an archive in which it has the name `name`: a zip, or for CIFAR-10 a tar.gz."""
    out = io.BytesIO()
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if name == "tiny-imagenet-200":
        with zipfile.ZipFile(out, "w") as archive:
            for path in files:
                archive.write(path, f"{name}/{path.relative_to(folder)}")
    else:
        with tarfile.open(fileobj=out, mode="w:gz") as archive:
            for path in files:
                archive.add(path, f"{name}/{path.relative_to(folder)}")
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "make", "splits"),
    [
        ("cifar10", miniature.cifar, {"train": 20, "val": 4}),
        ("tiny-imagenet", miniature.annotated, {"train": 18, "val": 8}),
    ],
)
def test_archives_laid_out_as_the_published_ones_go_into_prepare(
    name: str, make: typing.Any, splits: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    published = ARCHIVES[name]
    content = packed(make(tmp_path / "made"), published.folder)
    with serve(content) as server:
        address = f"{server.address}/{published.file}"
        own = published._replace(address=address, length=len(content), sha256=hashlib.sha256(content).hexdigest())
        result = download(name, Path("data"), archives={name: own})
    store = Path(shlex.split(result["next"])[3])
    assert main([*shlex.split(result["next"])[1:], "--workers", "1"]) == 0
    assert {split: Store(store).splits[split] for split in splits} == splits
    assert Store(store).size == published.size


def test_an_archive_that_was_put_there_is_taken_and_stays(server: FileServer, tmp_path: Path) -> None:
    file = tmp_path / "file.tgz"
    file.write_bytes(CONTENT)
    assert not download("imagenette", tmp_path, archives=archives(server))["downloaded"]
    assert (tmp_path / TOP / "val").is_dir() and file.read_bytes() == CONTENT
    assert not server.asked


def test_another_content_is_refused_and_nothing_of_it_stays(server: FileServer, tmp_path: Path) -> None:
    server.content = CONTENT[:-1] + b"x"
    with pytest.raises(ValueError, match=r"is not what it should be \(SHA-256 \w{64}, not \w{64}\): it was deleted"):
        download("imagenette", tmp_path, archives=archives(server))
    assert not [*tmp_path.iterdir()]
    (tmp_path / "file.tgz").write_bytes(server.content)
    with pytest.raises(ValueError, match=r"file.tgz is another file than http"):
        download("imagenette", tmp_path, archives=archives(server))
    assert (tmp_path / "file.tgz").exists() and not (tmp_path / TOP).exists()


def test_an_archive_of_other_folders_leaves_no_folder(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="outside its folder elsewhere"):
        download("imagenette", tmp_path, archives=archives(server, folder="elsewhere"))
    assert [path.name for path in tmp_path.iterdir()] == [f"{NEW}elsewhere"]


def test_without_a_network_it_says_where_to_put_the_archive(tmp_path: Path) -> None:
    with serve(CONTENT) as server:
        pass
    with pytest.raises(ValueError, match=rf"Connection refused.*save it as {tmp_path}/file.tgz and repeat"):
        download("imagenette", tmp_path, archives=archives(server))
    assert not [*tmp_path.iterdir()]


def test_two_downloads_of_a_data_set_do_not_mix(server: FileServer, tmp_path: Path) -> None:
    with lock.hold(tmp_path / f"{NEW}{TOP}", "download"), pytest.raises(ValueError, match="Another download is"):
        download("imagenette", tmp_path, archives=archives(server))
    assert not server.asked


def test_a_disk_without_room_is_said_before_anything_is_received(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"needs about \d+\.\d GB, and the disk of .* has \d+\.\d GB free"):
        download("imagenette", tmp_path, archives=archives(server, length=1 << 60))
    assert not server.asked


PROGRAM = """
import signal, sys
from pathlib import Path
from alexnet.data.download.archives import Archive
from alexnet.data.download.download import download
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job in the background inherits ignored
try:
    download("it", Path(sys.argv[1]), archives={"it": Archive("", *sys.argv[2:3], *eval(sys.argv[3]))})
except KeyboardInterrupt as interrupt:
    sys.exit(str(interrupt))
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_download_resumes(server: FileServer, tmp_path: Path, sent: signal.Signals) -> None:
    own = archives(server)["imagenette"]
    server.stalls_after = 4000
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), own.address, repr(tuple(own[2:]))]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        part = tmp_path / f"{NEW}{TOP}/file.tgz"
        arrived = threading.Event()
        for _ in range(12_000):
            if part.exists() and part.stat().st_size == 4000:
                break
            arrived.wait(0.01)
        os.kill(process.pid, sent)
        assert process.stderr is not None
        said = process.stderr.read()
    assert part.stat().st_size == 4000
    if sent == signal.SIGINT:
        assert "interrupted; the same command resumes it" in said
    server.stalls_after = None
    assert download("imagenette", tmp_path, archives={"imagenette": own})["downloaded"]
    assert server.asked == [None, "bytes=4000-"]
    assert [path.name for path in tmp_path.iterdir()] == [TOP]


def test_the_command_knows_all_data_sets_and_takes_another_address(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hints = typing.get_type_hints(COMMANDS["download"])
    assert typing.get_args(hints["name"]) == tuple(ARCHIVES)
    for url, code, problem in (("ftp://x/y", 2, "begins with neither"), ("http://127.0.0.1:1/x.tgz", 1, "refused")):
        assert main(["download", "cifar10", str(tmp_path), "--url", url]) == code
        assert re.search(problem, capsys.readouterr().err)
    assert main(["download", "imagenet"]) == 2


@pytest.mark.parametrize("name", ARCHIVES)
def test_addresses_are_encrypted_and_checksums_whole(name: str) -> None:
    archive = ARCHIVES[name]
    assert archive.address.startswith("https://") and re.fullmatch(r"[0-9a-f]{64}", archive.sha256)
    assert archive.file.endswith((".tgz", ".tar.gz", ".zip"))
