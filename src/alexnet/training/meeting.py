"""What ranks tell each other before they join: that they are ready, and with which program, store and settings; or why
they are not.

A rank that fails before it joins would leave the others waiting. So each one first posts what it has found, on the
key-value store of torchrun that all can reach, and reads what the others have posted.
"""

import functools
import json
import os
import platform
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch.distributed as dist

Result = TypeVar("Result")
LONGEST = 120.0
"""Seconds to wait for a rank that has posted nothing: Python and PyTorch may start slowly."""
LINGER = 5.0
"""Seconds that a rank which fails waits at most for the others to read why, before torchrun ends them."""
POLL = 0.1


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
    a fact that differs, and for a rank that posts nothing for `LONGEST` seconds.
    """
    if count() == 1:
        return prepare()[0]
    try:
        result, facts = prepare()
    except (ValueError, OSError) as error:
        sentence = f"{error.filename}: {error.strerror}." if isinstance(error, OSError) else str(error)
        report(sentence)
        raise RanksError(named(rank(), host(), sentence)) from None
    _post({"facts": facts})
    _compare(_read_all())
    return result


def report(sentence: str) -> None:
    """Tell the other ranks, which may be waiting, why this one fails."""
    try:
        _post({"error": sentence})
        end = time.monotonic() + LINGER
        while time.monotonic() < end and not all(_has_posted(each) for each in range(count())):
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
    return next(dist.rendezvous("env://", timeout=timedelta(seconds=LONGEST)))[0]


def _post(what: dict[str, Any]) -> None:
    _store().set(f"alexnet/rank/{rank()}", json.dumps({"host": host()} | what))


def _has_posted(number: int) -> bool:
    return _store().check([f"alexnet/rank/{number}"])


def _read_all() -> list[dict[str, Any]]:
    """What every rank has posted. RanksError as soon as one of them has failed, or when one posts nothing."""
    found: dict[int, dict[str, Any]] = {}
    end = time.monotonic() + LONGEST
    while len(found) < count():
        for number in range(count()):
            if number not in found and _has_posted(number):
                found[number] = json.loads(_store().get(f"alexnet/rank/{number}"))
                if "error" in found[number]:
                    raise RanksError(named(number, found[number]["host"], found[number]["error"]))
        if time.monotonic() > end:
            missing = ", ".join(str(number) for number in range(count()) if number not in found)
            raise RanksError(f"Rank {missing} did not start within {LONGEST:g} seconds; look at its own output.")
        time.sleep(POLL)
    return [found[number] for number in range(count())]


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
