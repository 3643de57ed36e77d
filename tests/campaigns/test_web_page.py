"""The attack on the page of `alexnet explore`, short."""

import sys

import pytest
from scripts import json_of

pytest.importorskip("uvicorn", reason="the extra explore is not installed")


@pytest.mark.skipif(sys.platform != "linux", reason="the campaign reads the server's memory from /proc")
def test_good_clients_are_answered_and_bad_ones_refused() -> None:
    found = json_of("campaigns.web_page", "--clients", 8, "--seconds", 0, "--requests", 2)
    assert found["alive"] and found["wrong"] == [] and found["tracebacks"] == 0
    assert found["requests"]["good"] > 0 and len(found["requests"]) > 4
    assert found["memory_peak"] < found["memory_limit"]
