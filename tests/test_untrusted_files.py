"""Untrusted files are never unpickled or executed: malicious files of each kind are refused and do nothing."""

import ast
import contextlib
import gzip
import io
import json
import pickle
import shutil
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from odd_files import ODD_FILES
from PIL import Image
from runs import write_checksums

import alexnet
from alexnet import load
from alexnet.cli import main
from alexnet.config import NetworkConfig, TrainConfig
from alexnet.data.prepare.prepare import prepare
from alexnet.data.sources.devkit import read_devkit
from alexnet.data.store.info import seal
from alexnet.data.store.reader import Store
from alexnet.files.checksums import checksum
from alexnet.study.verify import verify_run
from alexnet.training import checkpoint, loop

SOURCES = sorted(Path(alexnet.__file__).parent.rglob("*.py"))
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "yaml", "cloudpickle"}
FORBIDDEN_BUILTINS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_METHODS = {"popen", "loadmat", "read_pickle", "load_module"}


class Malicious:
    """Unpickled, it writes a file in the working directory."""

    def __reduce__(self):
        return (Path("executed").write_text, ("harm",))


def pickled() -> bytes:
    return pickle.dumps(Malicious())


def pth() -> bytes:
    file = io.BytesIO()
    torch.save({"conv1.weight": Malicious()}, file)
    return file.getvalue()


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([Malicious()], dtype=object), allow_pickle=True)
    return file.getvalue()


KINDS = {"pickle": pickled, "pth": pth, "npy": npy}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, a store and a run."""
    folder = tmp_path_factory.mktemp("made")
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        (folder / "images" / name).mkdir(parents=True)
        for i in range(6):
            image = Image.fromarray(random.integers(0, 256, (56, 56, 3), dtype=np.uint8))
            image.save(folder / "images" / name / f"{i}.png")
    prepare(folder / "images", folder / "store", size=56, workers=1)
    network = NetworkConfig(input_size=51, width=1 / 24)
    config = TrainConfig(epochs=1, batch_size=4, device="cpu", dtype="float32", workers=1, network=network)
    loop.train(folder / "store", folder / "run", config)
    return folder


@pytest.fixture
def own(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to plant files in, and the working directory."""
    shutil.copytree(made, tmp_path / "own")
    monkeypatch.chdir(tmp_path / "own")
    return tmp_path / "own"


@pytest.mark.parametrize("kind", KINDS)
def test_the_malicious_files_would_do_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    data = io.BytesIO(KINDS[kind]())
    {"pickle": pickle.load, "npy": lambda f: np.load(f, allow_pickle=True)}.get(
        kind, lambda f: torch.load(f, weights_only=False)
    )(data)
    assert Path("executed").read_text() == "harm"


def update_checksum(store: Path, file: Path) -> None:
    """Give `file`, as it is now, the checksum that store.json keeps of it."""
    info = json.loads((store / "store.json").read_text())
    for shard in info["shards"]:
        if shard["file"] == file.name:
            shard.update(bytes=file.stat().st_size, sha256=checksum(file))
    (store / "store.json").write_text(json.dumps(seal(info)))


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "weights": ("run/checkpoints/*/weights.safetensors", lambda own: load(own / "run", device="cpu")),
    "velocity": ("run/checkpoints/*/velocity.safetensors", lambda own: checkpoint.find(own / "run").velocity()),
    "state": ("run/checkpoints/*/state.json", lambda own: checkpoint.find(own / "run", "last").state()),
    "mean of a run": ("run/mean.npy", lambda own: load(own / "run", device="cpu")),
    "classes of a run": ("run/classes.json", lambda own: load(own / "run", device="cpu")),
    "settings of a run": ("run/config.json", lambda own: load(own / "run", device="cpu")),
    "mean of a store": ("store/mean.npy", lambda own: loop.Store(own / "store")),
    "store.json": ("store/store.json", lambda own: loop.Store(own / "store")),
    "shard": ("store/train-*.arrow", lambda own: loop.Store(own / "store").split("train").image(0)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", READERS)
@pytest.mark.parametrize("with_checksums", [True, False], ids=["old checksums", "new checksums"])
def test_a_malicious_file_is_refused_and_nothing_is_executed(
    own: Path, target: str, kind: str, with_checksums: bool
) -> None:
    pattern, read = READERS[target]
    read(own)
    (file,) = own.glob(pattern)
    file.write_bytes(KINDS[kind]())
    if not with_checksums and (file.parent / "SHA256SUMS").exists():  # an attacker would make them fit
        write_checksums(file.parent)
    with pytest.raises(ValueError, match=r"\w"):
        read(own)
    assert not Path("executed").exists()


ODD: dict[str, Callable[[Path], object]] = ODD_FILES | {"nested": lambda file: file.write_text("[" * 200_000)}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("target", [*READERS, "checksums"])
def test_what_is_no_ordinary_file_is_refused_at_once_by_name(own: Path, target: str, odd: str) -> None:
    pattern, read = (READERS | {"checksums": ("run/checkpoints/*/SHA256SUMS", READERS["weights"][1])})[target]
    (file,) = own.glob(pattern)
    file.unlink()
    ODD[odd](file)
    began = time.process_time()
    with pytest.raises((ValueError, OSError), match=r"\w") as caught:
        read(own)
    message = str(caught.value)
    # Where a checkpoint cannot be read, the one before it is tried, and then none is left.
    assert file.name in message or str(own / "run") in message or f"{Path('run', 'checkpoints')}" in message
    assert "\n" not in message and time.process_time() - began < 5


@pytest.mark.parametrize("odd", ODD)
def test_an_image_that_is_no_ordinary_file_is_refused_at_once(
    own: Path, odd: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ODD[odd](own / "image.jpg")
    assert main(["predict", "run", "image.jpg", "--device", "cpu"]) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if "WEIGHTS OF run ARE RANDOM" not in line]
    assert len(said) <= 2 and said[-1].startswith("alexnet predict: ") and "image.jpg" in said[-1]


@pytest.mark.parametrize("odd", ODD)
def test_a_log_that_is_no_ordinary_file_is_refused_at_once(own: Path, odd: str) -> None:
    file = own / "run" / "metrics.jsonl"
    file.unlink()
    ODD[odd](file)
    with pytest.raises((ValueError, OSError), match=r"metrics.jsonl"):
        verify_run(own / "run")


@pytest.mark.parametrize("kind", KINDS)
def test_a_malicious_image_is_refused(own: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    (own / "image.jpg").write_bytes(KINDS[kind]())
    assert main(["predict", "run", "image.jpg", "--device", "cpu"]) == 1
    assert "image.jpg is not an image that can be read" in capsys.readouterr().err
    (own / "images" / "a" / f"{kind}.jpg").write_bytes(KINDS[kind]())
    summary = prepare(own / "images", own / "other", size=56, workers=1, max_bad=1)
    assert [each["key"] for each in summary["skipped_reasons"]] == [f"a/{kind}.jpg"]
    assert not Path("executed").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_malicious_matlab_file_is_refused(own: Path, kind: str) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in (("meta.mat", KINDS[kind]()), ("ILSVRC2012_validation_ground_truth.txt", b"1\n")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    (own / "kit.tar.gz").write_bytes(gzip.compress(file.getvalue()))
    with pytest.raises(ValueError, match=r"kit.tar.gz cannot be understood \(it is not a MATLAB file"):
        read_devkit(own / "kit.tar.gz")
    assert not Path("executed").exists()


EXTENSION = {
    b"ARROW:extension:name": b"arrow.py_extension_type",  # which pyarrow once unpickled (CVE-2023-47248)
    b"ARROW:extension:metadata": pickled(),
}


def extended(table: pa.Table) -> pa.Table:
    """The same table, with a type in every column that asks to be unpickled."""
    return table.cast(pa.schema([field.with_metadata(EXTENSION) for field in table.schema]))


def test_a_malicious_arrow_type_in_a_shard_does_nothing(made: Path, own: Path) -> None:
    (file,) = own.glob("store/train-*.arrow")
    with pa.OSFile(str(file)) as opened:
        table = extended(pa.ipc.open_file(opened).read_all())
    with pa.ipc.new_file(str(file), table.schema) as out:
        out.write_table(table)
    assert EXTENSION[b"ARROW:extension:metadata"] in file.read_bytes()
    update_checksum(own / "store", file)
    expected = Store(made / "store").split("train").image(0)
    with contextlib.suppress(ValueError):  # refused (by pyarrow 16), or bytes and numbers for us
        assert (Store(own / "store").split("train").image(0) == expected).all()
    assert not Path("executed").exists()


def test_a_malicious_arrow_type_in_a_parquet_file_does_nothing(own: Path) -> None:
    images = [file.read_bytes() for file in sorted(own.glob("images/*/*.png"))]
    table = pa.table({"image": pa.array(images, pa.binary()), "label": pa.array([0, 1] * (len(images) // 2))})
    (own / "parquet").mkdir()
    pq.write_table(extended(table), own / "parquet" / "train-00000-of-00001.parquet")
    with contextlib.suppress(ValueError):  # refused or read
        prepare(own / "parquet", own / "other", size=56, workers=1)
    assert not Path("executed").exists()


@pytest.mark.parametrize("file", SOURCES, ids=[file.stem for file in SOURCES])
def test_no_line_of_the_program_could_execute_what_it_reads(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        where = f"{file}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None) or ""}
            assert not {name.split(".")[0] for name in names} & FORBIDDEN_MODULES, where
        if isinstance(node, ast.Call):
            name, called = getattr(node.func, "id", ""), getattr(node.func, "attr", "")
            owner = getattr(getattr(node.func, "value", None), "id", "")
            options = {option.arg: getattr(option.value, "value", None) for option in node.keywords}
            assert name not in FORBIDDEN_BUILTINS and called not in FORBIDDEN_METHODS, where
            assert (owner, called) != ("os", "system"), where
            assert options.get("allow_pickle") is not True and options.get("shell") is not True, where
            assert (owner, called) != ("torch", "load") or options.get("weights_only") is True, where


SERVERS = {"socket", "socketserver", "http.server", "asyncio", "xmlrpc", "wsgiref", "gradio", "tensorboard"}
SERVERS |= {"starlette", "uvicorn"}


NO_SERVERS = [file for file in SOURCES if "explore" not in file.parts]


@pytest.mark.parametrize("file", NO_SERVERS, ids=[file.stem for file in NO_SERVERS])
def test_only_explore_listens_on_the_network(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            package = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            parts = [(package + each.name).split(".") for each in node.names]
            names = {".".join(each[:length]) for each in parts for length in (1, 2)}
            assert names.isdisjoint(SERVERS), f"{file}, line {node.lineno}"
