"""The campaign of commands at once, short."""

from pathlib import Path

from scripts import json_of

from campaigns.at_once import Task, differences


def test_preparations_at_once_make_the_store_of_one() -> None:
    found = json_of("campaigns.at_once", "--processes", 3, "--only", "prepare")
    (prepare,) = found["commands"]
    assert found["held"] and prepare["done"] >= 1, found


def test_whatever_is_not_as_it_must_be_is_told(tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    for folder in (alone, together):
        folder.mkdir()
        (folder / "file").write_text("same")
        (folder / "times.json").write_text(folder.name)
    task, done = Task("", answers=True, varies=(".json",)), {"code": 0, "answer": "in alone", "error": ""}
    same = done | {"answer": "in together"}
    refused = {"code": 1, "answer": "", "error": "Another process is writing."}
    assert differences(task, alone, together, done, [same, same]) == ""
    assert differences(Task("", varies=(".json",)), alone, together, done, [same, refused]) == ""
    for found, trouble in (
        ([same, refused], "refused: Another"),
        ([refused, refused], "exit codes [1, 1]"),
        ([same, refused | {"code": -9}], "exit codes [0, -9]"),
        ([same, refused | {"error": ""}], "exit codes [0, 1]"),
        ([same, done | {"answer": "else"}], "another answer"),
    ):
        assert differences(task, alone, together, done, found).startswith(trouble)
    assert differences(Task("", True), alone, together, done, [same]) == "other files: ['times.json']"
    (together / ".new-1-file").touch()
    assert "other files" in differences(task, alone, together, done, [same])
    (alone / ".new-1-file").touch()
    assert differences(task, alone, together, done, [same]) == "left over: ['.new-1-file']"
