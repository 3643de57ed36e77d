"""What ranks tell each other before they join: that they are ready, and with which program, store and settings; or why
they are not.

A rank that fails before it joins would leave the others waiting. So each one first posts what it has found, on the
key-value store of torchrun that all can reach, and reads what the others have posted. While it prepares, it gives a
sign of life every second: one that gives none is known to all others in less than half a minute.
"""

import contextlib
import functools
import itertools
import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, TypeVar

import torch.distributed as dist

Result = TypeVar("Result")
PATIENCE = "ALEXNET_PATIENCE"
"""Variable with the seconds without a sign of life after which a rank counts as dead: for Python and PyTorch on a disk
from which some machines start much later than others."""
LINGER = 5.0
"""Seconds that a rank which fails waits at most for the others to read why, before torchrun ends them."""
POLL = 0.1
BETWEEN_SIGNS = 1.0
_numbers = itertools.count()
"""Of the meetings of this process; all ranks meet in the same order."""


class RanksError(ValueError):
    """What is wrong with one of several ranks, known to all. `silent`: another rank of this machine has said it."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.silent = not is_first_to_say()


def count() -> int:
    """The number of ranks that torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """The number of this rank."""
    return int(os.environ.get("RANK", "0"))


def host() -> str:
    """The name of this machine."""
    return platform.node()


def meet(prepare: Callable[[], tuple[Result, dict[str, str]]]) -> Result:
    """Run `prepare` on every rank. It returns the result, and facts that must be the same on all ranks, by name.

    If it raises ValueError or OSError on one rank, every rank raises RanksError, which names that rank; so they do for
    a fact that differs, and for a rank that neither posts anything nor gives a sign of life for `patience()` seconds.
    """
    if count() == 1:
        return prepare()[0]
    name = f"alexnet/{next(_numbers)}"
    try:
        with _signs_of_life(name):
            result, facts = prepare()
    except (ValueError, OSError) as error:
        sentence = f"{error.filename}: {error.strerror}." if isinstance(error, OSError) else str(error)
        _post_error(name, sentence)
        raise RanksError(named(rank(), host(), sentence)) from None
    _post(name, {"facts": facts})
    _compare(_read_all(name))
    return result


def patience() -> float:
    """Seconds without a sign of life after which a rank counts as dead."""
    try:
        return float(os.environ.get(PATIENCE, "25"))
    except ValueError:
        raise ValueError(f"{PATIENCE} is {os.environ[PATIENCE]!r}; it must be a number of seconds.") from None


def report(sentence: str) -> None:
    """Tell the other ranks, which may be waiting for this one to meet them, why it fails."""
    _post_error(f"alexnet/{next(_numbers)}", sentence)


def _post_error(name: str, sentence: str) -> None:
    try:
        _post(name, {"error": sentence})
        end = time.monotonic() + LINGER
        while time.monotonic() < end and not all(_has_posted(name, each) for each in range(count())):
            time.sleep(POLL)
        time.sleep(5 * POLL)  # they read, before torchrun ends them
    except RuntimeError:  # the store has gone with the rank that kept it
        pass


def named(number: int, machine: str, sentence: str) -> str:
    """The sentence, with the rank that it is about."""
    return f"Rank {number} on {machine}: {sentence}"


def differs(name: str, number: int, theirs: str, machine: str, first: str, first_machine: str) -> RanksError:
    """The error for a fact that is another on rank `number` than on rank 0."""
    return RanksError(
        f"Rank {number} on {machine} has {name} {_short(theirs)}, and rank 0 on {first_machine} has {_short(first)}: "
        "all ranks need the same program, store, settings and run folder."
    )


def is_first_to_say() -> bool:
    """Whether no other rank of this machine has asked this before: one of them speaks for all."""
    if count() == 1:
        return True
    try:
        return _store().add(f"alexnet/said/{host()}", 1) == 1
    except RuntimeError:
        return True


@functools.cache
def _store() -> dist.Store:
    """The key-value store. Where rank 0 keeps it, it stays there until that process ends."""
    return next(dist.rendezvous("env://", timeout=timedelta(seconds=patience())))[0]


def _post(name: str, what: dict[str, Any]) -> None:
    _store().set(f"{name}/rank/{rank()}", json.dumps({"host": host()} | what))


def _has_posted(name: str, number: int) -> bool:
    return _store().check([f"{name}/rank/{number}"])


@contextlib.contextmanager
def _signs_of_life(name: str) -> Iterator[None]:
    """Let the others see that this rank, on this machine, is at work."""
    store, done = _store(), threading.Event()

    def give() -> None:
        with contextlib.suppress(RuntimeError):  # the store has gone with the rank that kept it
            while not done.wait(BETWEEN_SIGNS):
                store.add(f"{name}/alive/{rank()}", 1)

    store.set(f"{name}/host/{rank()}", host())
    thread = threading.Thread(target=give, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _read_all(name: str) -> list[dict[str, Any]]:
    """What every rank has posted. RanksError as soon as one of them has failed, or when one gives no sign of life."""
    found: dict[int, dict[str, Any]] = {}
    seen = {number: (0, time.monotonic()) for number in range(count())}  # signs of life, and when they grew in number
    while len(found) < count():
        for number in range(count()):
            if number not in found and _has_posted(name, number):
                found[number] = json.loads(_store().get(f"{name}/rank/{number}"))
                if "error" in found[number]:
                    raise RanksError(named(number, found[number]["host"], found[number]["error"]))
            elif number not in found:
                signs, now = _store().add(f"{name}/alive/{number}", 0), time.monotonic()
                if signs > seen[number][0]:
                    seen[number] = signs, now
                elif now - seen[number][1] > patience():
                    raise _is_silent(name, number)
        time.sleep(POLL)
    return [found[number] for number in range(count())]


def _is_silent(name: str, number: int) -> RanksError:
    first = rank() - int(os.environ.get("LOCAL_RANK", "0"))
    if _store().check([f"{name}/host/{number}"]):
        machine = _store().get(f"{name}/host/{number}").decode()
    elif first <= number < first + int(os.environ.get("LOCAL_WORLD_SIZE", "1")):
        machine = host()
    else:
        machine = "another machine"
    return RanksError(
        f"Rank {number} on {machine} has given no sign of life for {patience():g} seconds: look at its own output. "
        f"{PATIENCE}=120 in the environment waits longer."
    )


def _compare(posts: list[dict[str, Any]]) -> None:
    first = posts[0]
    for number, post in enumerate(posts):
        for name, value in first["facts"].items():
            theirs = post["facts"].get(name, "none")
            if theirs != value:
                time.sleep(5 * POLL)  # the others read too, before torchrun ends them
                raise differs(name, number, theirs, post["host"], value, first["host"])


def _short(value: str) -> str:
    """The beginning of a long value, for a message."""
    return value if len(value) <= 60 else value[:57] + "..."
