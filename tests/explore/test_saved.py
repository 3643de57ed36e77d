"""The page that is saved: whole in one file, bounded, with the numbers of the server."""

import base64
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from alexnet.cli import main
from alexnet.explore import command, saved
from alexnet.explore.explorer import Explorer
from alexnet.explore.view_names import COLUMNS


def data_of(page: Path) -> dict[str, Any]:
    (text,) = re.findall(r'<script type="application/json" id="saved">(.*?)</script>', page.read_text(), re.S)
    return json.loads(text)


def test_it_needs_no_other_file_and_no_host(saved_page: Path) -> None:
    text = saved_page.read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', text)
    assert set(re.findall(r"https?://[^\s\"'<>`)]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert all(url.startswith("data:image/") for url in data_of(saved_page)["images"].values())
    policy = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)[0]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    script, style = (re.findall(pattern, text, re.S)[0] for pattern in
                     (r'<script type="module">(.*?)</script>', r"<style>(.*?)</style>"))  # fmt: skip
    for inline in (script, style):
        assert base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode() in policy


def test_its_numbers_are_those_of_the_server(saved_page: Path, folder: Path) -> None:
    answers = data_of(saved_page)["answers"]
    explorer = Explorer([folder / "paper"], folder / "store", "cpu")
    expected = explorer.predict({"image": "val-6", "views": "10"})
    found = answers["predict?image=val-6&views=10"]
    for ours, theirs in zip(found["runs"][0]["top5"], expected["runs"][0]["top5"], strict=True):
        assert ours["wnid"] == theirs["wnid"] and ours["probability"] == pytest.approx(theirs["probability"], rel=1e-6)
    arithmetic = [json.dumps(value) for key, value in answers.items() if key.startswith("arithmetic?image=val-6")]
    assert len(arithmetic) > 30 and all("NaN" not in each for each in arithmetic)
    for key, value in answers.items():
        if key.startswith("arithmetic"):
            assert value["total"] == pytest.approx(value["value"], rel=1e-3, abs=2e-3), key


def test_names_of_strangers_do_nothing_in_it(folder: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(folder / "paper", tmp_path / "run</script><script>alert(1)"))
    classes = json.loads((run / "classes.json").read_text())
    classes[0][1] = "</script><img src=x onerror=alert(1)>"
    (run / "classes.json").write_text(json.dumps(classes))
    command.explore([run], save=tmp_path / "page.html", image=[folder / "images/val/n00000001/1.png"], device="cpu")
    text = (tmp_path / "page.html").read_text()
    assert "onerror" in text and "<img src=x" not in text and "</script><script>alert" not in text
    assert len(re.findall("</script>", text)) == 2


def test_a_page_that_would_be_too_large_is_refused_and_nothing_is_overwritten(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image = str(folder / "images/val/n00000001/1.png")
    line = [
        "explore",
        str(folder / "paper"),
        "--save",
        str(tmp_path / "page.html"),
        "--image",
        image,
        "--device",
        "cpu",
    ]
    assert main([*line, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] < saved.LARGEST
    before = (tmp_path / "page.html").read_bytes()
    assert main(line) != 0 and "--force" in capsys.readouterr().err
    monkeypatch.setattr(saved, "LARGEST", 1000)
    assert main([*line, "--force"]) == 1 and "fewer images" in capsys.readouterr().err
    assert (tmp_path / "page.html").read_bytes() == before
    assert main(["explore", str(folder / "paper"), "--save", str(tmp_path / "other.html")]) == 2
    assert "--data" in capsys.readouterr().err
    assert main(["explore", str(folder / "paper"), "--image", image]) == 2


def test_the_modules_are_all_there_and_the_overview_has_the_same_columns() -> None:
    packaged = {name: content.decode() for name, content in saved.static().items()}
    assert {f"{name}.js" for name in saved.MODULES} == {name for name in packaged if name.endswith(".js")}
    for number, name in enumerate(saved.MODULES):
        for imported in re.findall(r'from "\./(\w+)\.js"', packaged[f"{name}.js"]):
            assert imported in saved.MODULES[:number], f"{name} needs {imported}"
    (listed,) = re.findall(r"const COLUMNS = (\[.*?\]);", packaged["view_network.js"])
    assert tuple(json.loads(listed)) == COLUMNS
