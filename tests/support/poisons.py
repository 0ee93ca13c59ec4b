"""Workflows whose code is poison: it never returns, recurses without end, or eats memory. And sound
ones beside them.

What is poison is fed by a signal, so that a run has a history before; with a file named
``PERDURE_TEST_ANTIDOTE`` in the environment, and there, everything is harmless.
"""

import itertools
import os
import re
import sys
from datetime import timedelta
from pathlib import Path

from perdure import activity, workflow


def _is_harmless() -> bool:
    antidote = os.environ.get("PERDURE_TEST_ANTIDOTE", "")
    return bool(antidote) and Path(antidote).exists()


def never_return() -> None:
    while True:
        pass


def sleep_in_the_system() -> None:
    """Takes no processor time at all."""
    import time

    time.sleep(86_400)


def match_for_ever() -> None:
    """C code that keeps the interpreter."""
    re.match(r"(a|aa)+$", "a" * 200 + "b")


def make_a_number() -> None:
    """C code that keeps the interpreter and looks at no signal."""
    _ = 10 ** (10**9)


def recurse() -> None:
    """Python finds it itself."""
    recurse()


def recurse_in_c() -> None:
    """Overflows the stack of the process."""
    chain = iter(())
    for _ in range(1_000_000):
        chain = itertools.chain(chain, ())
    next(chain, None)


def recurse_unbounded() -> None:
    sys.setrecursionlimit(10**9)
    recurse()


def eat() -> None:
    """As many megabytes as PERDURE_TEST_MEAL says, in bites."""
    meal = int(os.environ.get("PERDURE_TEST_MEAL", "5000"))
    eaten = [b"x" * 10_000_000 for _ in range(meal // 10)]
    never_return() if eaten else None


def leave() -> None:
    os._exit(3)


POISONS = {
    one.__name__: one
    for one in (
        never_return,
        sleep_in_the_system,
        match_for_ever,
        make_a_number,
        recurse,
        recurse_in_c,
        recurse_unbounded,
        eat,
        leave,
    )
}


def swallow(name: str) -> None:
    if not _is_harmless():
        POISONS[name]()


@activity.defn
async def echo(text: str) -> str:
    return text


@workflow.defn
class Victim:
    """Takes letters until it is told to finish; ``take`` feeds it."""

    def __init__(self) -> None:
        self.letters: list[str] = []
        self.finished = False

    @workflow.run
    async def run(self) -> list[str]:
        first = await workflow.execute_activity(
            echo, "begun", start_to_close_timeout=timedelta(seconds=30)
        )
        await workflow.wait_condition(lambda: self.finished)
        return [first, *self.letters]

    @workflow.signal
    def take(self, poison: str) -> None:
        swallow(poison)

    @workflow.signal
    def post(self, letter: str) -> None:
        self.letters.append(letter)

    @workflow.signal
    def finish(self) -> None:
        self.finished = True

    @workflow.query
    def ask(self, poison: str) -> str:
        swallow(poison)
        return "still here"


@workflow.defn
class Stillborn:
    """Poison from its first turn on."""

    @workflow.run
    async def run(self, poison: str) -> str:
        swallow(poison)
        return "alive"


@workflow.defn
class Ticker:
    """Sound: one short timer after the other."""

    @workflow.run
    async def run(self, times: int) -> int:
        for _ in range(times):
            await workflow.sleep(0.2)
        return times
