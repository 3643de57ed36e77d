"""Ctrl-C and SIGTERM: the first one requests a stop, the second one ends the process."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from alexnet.training import stop

ENDLESS = """
import time
from alexnet.training import stop
with stop.requests() as asked:
    print("working", flush=True)
    while not asked.is_set():
        time.sleep(0.01)
    print("asked", flush=True)
    time.sleep(600)  # the step that is finished
"""


@pytest.mark.parametrize(("first", "second"), [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT)])
def test_the_first_signal_is_a_request_and_the_second_ends_the_process(first, second):
    with subprocess.Popen([sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline() == b"working\n"
        process.send_signal(first)
        assert process.stdout.readline() == b"asked\n"
        assert process.poll() is None
        process.send_signal(second)
        assert process.wait(120) == -second  # a shell calls it 128 + second
        assert b"once more to stop at once" in process.stderr.read()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_signal_is_remembered_and_the_handlers_are_restored(number):
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with stop.requests() as asked:
        assert not asked.is_set()
        os.kill(os.getpid(), number)
        assert asked.wait(120)
    assert (asked.stopped("why").signal, str(asked.stopped("why"))) == (number, "why")
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


def test_an_interactive_python_survives_the_second(monkeypatch):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    with stop.requests() as asked:
        os.kill(os.getpid(), signal.SIGINT)
        assert asked.wait(120)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_outside_the_main_thread_signals_are_left_alone():
    before, found = signal.getsignal(signal.SIGINT), []

    def work():
        with stop.requests() as asked:
            found.append((asked.is_set(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(False, before)]
