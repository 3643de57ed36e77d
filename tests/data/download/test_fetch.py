"""A file arrives whole over a connection that is cut, and from servers with and without ranges."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import FileServer, serve

from alexnet.data.download.fetch import fetch

CONTENT = random.Random(0).randbytes(1_000_000)
AT_ONCE = (0.0, 0.0, 0.0)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve(CONTENT) as server:
        yield server


def fetched(server: FileServer, file: Path, path: str = "") -> int:
    """Fetch CONTENT into `file`; returns the sum of what was reported as received."""
    counts: list[int] = []
    fetch(server.address.replace("/file", path or "/file"), file, len(CONTENT), counts.append, AT_ONCE)
    return sum(counts)


@pytest.mark.parametrize("path", ["/file", "/elsewhere"])
def test_a_file_arrives_also_through_a_redirection(server: FileServer, tmp_path: Path, path: str) -> None:
    assert fetched(server, tmp_path / "file", path) == len(CONTENT)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_after_cuts_only_the_rest_is_asked_for(server: FileServer, tmp_path: Path) -> None:
    server.cuts = [300_000, 0, 400_000, 0, 0]  # the limit counts tries in a row that receive nothing
    assert fetched(server, tmp_path / "file") == len(CONTENT)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == [None, *["bytes=300000-"] * 2, *["bytes=700000-"] * 3]


def test_what_an_earlier_call_received_is_kept(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT[:999_000])
    assert fetched(server, tmp_path / "file") == 1000
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == ["bytes=999000-"]


def test_a_server_without_ranges_sends_the_file_again(server: FileServer, tmp_path: Path) -> None:
    server.knows_ranges = False
    (tmp_path / "file").write_bytes(CONTENT[:400_000])
    assert fetched(server, tmp_path / "file") == len(CONTENT) - 400_000
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_server_that_is_busy_is_asked_again(server: FileServer, tmp_path: Path) -> None:
    server.cuts, server.codes = [300_000], [None, 503, 429]
    assert fetched(server, tmp_path / "file") == len(CONTENT)
    assert (tmp_path / "file").read_bytes() == CONTENT
    server.codes = [503]
    with pytest.raises(ValueError, match=r"cannot be read \(its server answers 503 Service Unavailable\)"):
        fetched(server, tmp_path / "other")


def test_connections_that_always_fail_end_with_the_reason_and_keep_what_came(
    server: FileServer, tmp_path: Path
) -> None:
    server.cuts = [300_000] + [0] * 10
    with pytest.raises(ValueError, match=r"the connection was cut\): the same command resumes it"):
        fetched(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT[:300_000]
    assert len(server.asked) == 1 + len(AT_ONCE)


def test_without_a_network_the_first_try_is_the_last(tmp_path: Path) -> None:
    with serve(CONTENT) as server:
        pass
    with pytest.raises(ValueError, match=r"cannot be read \(Connection refused\)"):
        fetched(server, tmp_path / "file")
    assert not (tmp_path / "file").exists()


def test_a_file_that_is_not_there_or_of_another_length_is_refused(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"/nothing is not there: its server answers 404 Not Found"):
        fetched(server, tmp_path / "file", "/nothing")
    server.content += b"more"
    for have in (0, 10):
        (tmp_path / "file").write_bytes(CONTENT[:have])
        with pytest.raises(ValueError, match="has changed: it has 1000004 bytes, not 1000000"):
            fetched(server, tmp_path / "file")


@pytest.mark.parametrize("kind", ["file", "ftp", "data"])
def test_a_redirection_leads_to_web_servers_alone(server: FileServer, tmp_path: Path, kind: str) -> None:
    (tmp_path / "secret").write_bytes(CONTENT)
    server.location = f"{kind}://{tmp_path}/secret"
    with pytest.raises(
        ValueError, match=r"/elsewhere (is not there: its server answers 302|cannot be read .unknown url)"
    ):
        fetched(server, tmp_path / "file", "/elsewhere")
    assert not (tmp_path / "file").exists()
