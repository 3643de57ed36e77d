"""Who may ask, what may be sent, and what an answer tells."""

import io
import re
import socket
import struct
from pathlib import Path

import numpy as np
import pytest
from explore_site import Site, serving
from PIL import Image
from starlette.types import Receive, Scope, Send

from alexnet.explore import bounds, command
from alexnet.explore.guard import Guard, Names
from alexnet.explore.images import is_large


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros((height, width), np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("name", ["evil.example", "evil.example:80", "localhost.evil.example", "10.0.0.1", ""])
def test_a_host_that_is_not_this_machine_is_refused(site: Site, name: str) -> None:
    for path in ("/", "/api/about", "/static/app.js"):
        status, _, body = site.ask(path, Host=name)
        assert status == 421 and b"does not go by that name" in body


def test_every_name_of_this_machine_is_answered(site: Site) -> None:
    for name in (f"127.0.0.1:{site.port}", f"localhost:{site.port}", "[::1]:1234", "LOCALHOST"):
        assert site.ask("/api/about", Host=name)[0] == 200


def test_where_others_may_ask_addresses_in_numbers_and_the_own_name_are_answered() -> None:
    names = Names("0.0.0.0", ["lab"])
    assert names.open and "192.168.1.5:80" in names and "lab" in names and "[fe80::1]:80" in names
    assert "evil.example" not in names and "192.168.1.5.evil.example" not in names


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"},
        {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "cors"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"},
    ],
)
def test_pages_of_other_sites_may_not_ask(site: Site, headers: dict[str, str]) -> None:
    assert site.ask("/api/images", "POST", png(80, 80), **headers)[0] == 403
    assert site.ask("/api/image.png?image=val-0", **headers)[0] == 403


def test_this_site_and_links_from_others_are_answered(site: Site) -> None:
    assert site.ask("/api/images", "POST", png(80, 80), Origin=site.url, Sec_Fetch_Site="same-origin")[0] == 200
    visit = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert site.ask("/image/val-0", **visit)[0] == 200


@pytest.mark.parametrize(
    "path", ["/", "/network", "/static/app.js", "/api/about", "/nothing", "/api/image.png?image=val-0"]
)
def test_every_answer_forbids_other_hosts_and_frames(site: Site, path: str) -> None:
    _, headers, _ = site.ask(path)
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert not re.search(r"https?:", policy)
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"


def test_no_packaged_file_names_another_host() -> None:
    static = Path(command.__file__).parent / "static"
    assert {path.suffix for path in static.iterdir()} == {".html", ".css", ".js", ".svg"}
    for path in static.iterdir():
        found = set(re.findall(r"https?://[^\s\"'<>)]+", path.read_text(encoding="utf-8")))
        assert found <= {"http://www.w3.org/2000/svg"}, path


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("map?image=val-0&stage=conv9", 404),
        ("map?image=val-0&stage=conv1&unit=99999", 404),
        ("map?image=val-0", 400),
        ("arithmetic?image=val-0&stage=conv1&unit=0&y=99&x=0", 404),
        ("arithmetic?image=val-0&stage=conv1&unit=-1", 400),
        ("predict?image=val-99", 404),
        ("predict?image=..%2F..%2Fetc%2Fpasswd", 404),
        ("predict?image=u-0123456789abcdef", 404),
        ("predict?image=val-0&views=3", 400),
        ("predict?image=val-0&run=7", 404),
        ("list?wnid=nothing", 404),
        ("list?split=test", 404),
        ("nothing", 404),
        ("predict?image=" + 3000 * "a", 414),
    ],
)
def test_what_is_not_there_is_a_sentence(site: Site, path: str, status: int) -> None:
    assert re.fullmatch(r"[A-Z0-9a-z].*[.0-9\]]", site.get(path, status)["error"], re.S)


@pytest.mark.parametrize(
    "path", ["/static/../guard.py", "/static/%2e%2e%2fguard.py", "/static/index.html/..", "/static//etc/passwd"]
)
def test_only_packaged_files_are_served(site: Site, path: str) -> None:
    status, _, body = site.ask(path)
    assert status == 404 and b"def " not in body


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST", "OPTIONS"])
def test_other_methods_are_refused(site: Site, method: str) -> None:
    assert site.ask("/api/about", method)[0] == 404


BAD = {
    "nothing": b"",
    "text": b"no image at all" * 99,
    "truncated": png(100, 100)[:60],
    "bomb": png(100, 100)[:16] + (60_000).to_bytes(4, "big") * 2 + png(100, 100)[24:],
    "script": b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>",
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_image_is_refused_in_a_sentence(site: Site, kind: str) -> None:
    status, _, body = site.ask("/api/images", "POST", BAD[kind])
    assert status == 400 and b"error" in body and b"Traceback" not in body


def test_an_image_of_more_than_20_megabytes_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "SECONDS_BETWEEN_PARTS", 1)
    status, _, body = site.ask("/api/images", "POST", bytes(bounds.LARGEST_UPLOAD + 1))
    assert status == 413 and b"20 MB" in body
    with socket.create_connection(("127.0.0.1", site.port)) as slow:
        slow.sendall(b"POST /api/images HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n")
        assert b"413" in slow.recv(100)


def test_slow_senders_are_not_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "SECONDS_BETWEEN_PARTS", 0.3)
    monkeypatch.setattr(bounds, "SECONDS_FOR_HEADERS", 0.3)
    head = b"POST /api/images HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
    with (
        socket.create_connection(("127.0.0.1", site.port), timeout=120) as body,
        socket.create_connection(("127.0.0.1", site.port), timeout=120) as headers,
        socket.create_connection(("127.0.0.1", site.port), timeout=120) as silent,
    ):
        body.sendall(head + b"\r\nsome bytes")
        headers.sendall(head)
        assert b"408" in body.recv(100)
        assert headers.recv(100) == silent.recv(100) == b""


def test_uploads_are_forgotten_and_not_more_are_kept_than_allowed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "UPLOADS_KEPT", 3)
    with serving([folder / "paper"], None) as site:
        names = [site.send(png(80 + i, 80)) for i in range(4)]
        assert "send it again" in site.get(f"predict?image={names[0]}", 404)["error"]
        assert site.get(f"predict?image={names[3]}")["runs"]
        assert "--data" in site.get("predict?image=val-0", 404)["error"]


def test_nothing_is_written_and_no_path_is_told(site: Site, folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if "index" not in path.parts}
    name = site.send(png(90, 80))
    for path in ("about", f"predict?image={name}", "list?count=9", "stages?image=val-0"):
        assert str(folder).encode() not in site.ask(f"/api/{path}")[2]
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if "index" not in path.parts}
    assert after == before


async def nothing(scope: Scope, receive: Receive, send: Send) -> None: ...


def test_a_sentence_names_files_and_not_where_they_are() -> None:
    guard = Guard(nothing, Names("localhost"), [Path("stores/mine"), Path("/home/me/runs/a")])
    said = "stores/mine/train-0.arrow, row 3, and /home/me/runs/a/mean.npy and /tmp/x/y.png and ../z/w are damaged"
    assert guard.without_paths(said) == "mine/train-0.arrow, row 3, and a/mean.npy and y.png and w are damaged"
    assert guard.answer(KeyError("/home/me"))[1].startswith("Something is wrong inside (KeyError)")
    assert "/" not in guard.answer(FileNotFoundError(2, "No such file", "/home/me/x"))[1]


def test_a_damaged_row_is_a_sentence_without_paths(folder: Path, tmp_path: Path) -> None:
    import shutil

    store = Path(shutil.copytree(folder / "store", tmp_path / "store"))
    with serving([folder / "paper"], store) as site:
        (file,) = store.glob("val-*.arrow")
        content = bytearray(file.read_bytes())
        content[len(content) // 3 : len(content) // 3 + 4000] = bytes(4000)
        file.write_bytes(content)
        errors = [site.ask(f"/api/predict?image=val-{i}") for i in range(14)]
        wrong = [body for status, _, body in errors if status == 400]
        assert wrong and all(str(tmp_path).encode() not in body and b"val-00000.arrow" in body for body in wrong)


def test_a_taken_port_a_missing_run_and_a_missing_package_are_sentences(
    site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="give another with --port"):
        command.explore([folder / "paper"], port=site.port)
    with pytest.raises(ValueError, match="There is no run at"):
        command.explore([folder / "nothing"], port=0)
    monkeypatch.setattr(command, "NEEDS", ("uvicorn", "nothing_of_the_kind"))
    with pytest.raises(ValueError, match=r"nothing_of_the_kind: pip install 'alexnet\[explore\]'"):
        command.explore([folder / "paper"], port=0)


def test_a_warning_says_who_can_see_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    command.announce("http://127.0.0.1:1/", False)
    assert "warning" not in capsys.readouterr().err
    command.announce("http://127.0.0.1:1/", True)
    assert "there is no password" in capsys.readouterr().err


def test_the_server_ends_while_a_connection_is_open(folder: Path) -> None:
    with serving([folder / "paper"], None) as site:  # which asserts that it ends
        idle = socket.create_connection(("127.0.0.1", site.port))
    idle.close()


def test_an_image_is_large_by_what_its_header_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the checks that decoding makes first: nothing else looks into a stranger's bytes."""
    file = io.BytesIO()
    Image.new("L", (40, 30)).save(file, "PNG")
    monkeypatch.setattr(bounds, "LARGE_PIXELS", 1199)
    assert is_large(file.getvalue())
    monkeypatch.setattr(bounds, "LARGE_PIXELS", 1200)
    assert not is_large(file.getvalue()) and not is_large(b"no image")
    huge = b"II*\0" + struct.pack("<IHHHII", 8, 60_000, 256, 4, 1, 1 << 31)  # a directory longer than the file
    assert not is_large(huge)
