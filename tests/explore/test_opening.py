"""The page before the runs are open, and images that wait for their labels together."""

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from explore_site import SECONDS, Site, check_alike, serving

from alexnet.explore import command, server
from alexnet.explore.app import make_app
from alexnet.explore.guard import Names
from alexnet.explore.opening import Opening
from alexnet.explore.worker import Lanes, Together
from alexnet.study.predict import predict


def test_neither_the_command_nor_the_application_imports_torch() -> None:
    line = "import sys; from alexnet.explore import app, command, server; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True).stdout == "False\n"


def opened(make: Any) -> tuple[Site, server.Server, threading.Thread, Opening]:
    listening, ready, lanes = server.listen("127.0.0.1", 0), threading.Event(), Lanes()
    opening = Opening(make, None)
    running = server.Server(make_app(opening, Names("127.0.0.1"), lanes), ready.set)
    thread = threading.Thread(target=running.run, args=([listening],), daemon=True)
    opening.start(running.stop)
    thread.start()
    assert ready.wait(SECONDS)
    return Site(SimpleNamespace(), listening.getsockname()[1]), running, thread, opening  # type: ignore[arg-type]


def test_the_page_is_there_before_the_runs_and_answers_wait_for_them() -> None:
    go = threading.Event()

    def make() -> Any:
        assert go.wait(SECONDS)
        return SimpleNamespace(about=lambda query: {"runs": []}, warm_up=lambda: None)

    site, running, thread, opening = opened(make)
    assert site.ask("/")[0] == site.ask("/static/app.js")[0] == 200
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(site.get, "about")
        time.sleep(0.1)
        assert not answer.done()
        go.set()
        assert answer.result(SECONDS) == {"runs": []}
    running.stop()
    thread.join(SECONDS)
    opening.end()


def test_a_run_that_cannot_be_opened_ends_the_command(folder: Path, tmp_path: Path) -> None:
    import shutil

    broken = Path(shutil.copytree(folder / "paper", tmp_path / "broken"))
    (broken / "mean.npy").write_bytes(b"no array")
    with pytest.raises(ValueError, match=r"mean\.npy cannot be read"):
        command.explore([broken], port=0, device="cpu")
    with pytest.raises(ValueError, match="no store"):
        command.explore([folder / "paper"], tmp_path, port=0)


def test_what_waits_is_done_together_and_each_gets_its_own() -> None:
    begun, go = threading.Event(), threading.Event()
    groups: list[list[int]] = []

    def work(items: Sequence[int]) -> list[int]:
        groups.append([*items])
        begun.set()
        assert go.wait(SECONDS)
        if 13 in items:
            raise ValueError("thirteen")
        return [item * item for item in items]

    together = Together(work, 4)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(together, 0)
        assert begun.wait(SECONDS)
        rest = [pool.submit(together, item) for item in range(1, 6)]
        while len(together._waiting) < 5:
            time.sleep(0.01)
        go.set()
        assert [each.result(SECONDS) for each in [first, *rest]] == [0, 1, 4, 9, 16, 25]
        assert [len(group) for group in groups] == [1, 4, 1]
        with pytest.raises(ValueError, match="thirteen"):
            together(13)
        assert together(2) == 4


def test_images_that_are_asked_for_at_once_get_the_labels_of_predict(folder: Path) -> None:
    paths = sorted((folder / "images/val").rglob("*.png"))
    said = predict(folder / "paper", paths, views=10, device="cpu")["predictions"]
    with serving([folder / "paper"], folder / "store") as site, ThreadPoolExecutor(14) as pool:
        found = [*pool.map(lambda i: site.get(f"predict?image=val-{i}&views=10"), range(14))]
    for each, expected in zip(found, said, strict=True):
        check_alike(each["runs"][0]["top5"], expected["top5"])
