"""Named faults at the ports, drawn from a seed: what a network, a full disk and a crash do.

A :class:`FaultPlan` decides for each call of a wrapped backend which fault meets it, if any, and
counts what met what, so that a simulation can prove that it looked where it claims to have looked.
The same seed and the same program give the same faults.

    plan = FaultPlan(7, rates={CrashAfter(): 0.01, ReportedFailed(): 0.02})
    backend = plan.wrap(store.backend(), on_crash=process.die)
"""

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, Final, Protocol

from perdure.core.durations import MILLISECOND, nanoseconds
from perdure.ports.errors import PortError, StoreFull, Unavailable, UnknownOutcome
from perdure.testing.fault_kinds import Kind, kind_of

_EVERYTHING: Final = frozenset(Kind)
_CHANGES: Final = frozenset({Kind.WRITE, Kind.STORE})
_ANSWERED: Final = _CHANGES | {Kind.READ, Kind.OPENING}
_ONE_WAY: Final = frozenset({Kind.DELIVERY, Kind.HINT, Kind.WORD})
_FOR_GOOD: Final = 600.0
_NEXT: Final = 5.0
"""Seconds for which something waits to be overtaken."""


class SimulatedCrash(BaseException):
    """The process died here. Not an Exception: nothing of a dead process handles its own death."""


class Process(Protocol):
    """What a fault can do to the process that it meets."""

    @property
    def random(self) -> random.Random: ...
    def crash(self) -> SimulatedCrash:
        """It is dead from now on; the error to raise."""
        ...

    def pause(self) -> None:
        """It stands still from the next turn of the loop on, for a while."""
        ...

    def step_clock(self) -> None:
        """The clock of the store's leader steps."""
        ...

    def after_next(self, name: str, go: Callable[[], None]) -> None:
        """Let ``go`` pass once the next one of that name has passed."""
        ...


@dataclass(slots=True)
class PortCall:
    """One call that a fault meets: ``invoke`` makes it, as often as it is asked."""

    name: str
    invoke: Callable[[], Awaitable[Any]]
    process: Process


@dataclass(slots=True)
class Passage:
    """Something that goes one way, to the process or from it: ``go`` lets it pass."""

    name: str
    go: Callable[[], None]
    process: Process


class Fault(ABC):
    """What may happen to a call. Its name in counts is the class's; ``why_not`` says why it cannot
    meet the other kinds."""

    kinds: ClassVar[frozenset[Kind]] = _EVERYTHING
    why_not: str = ""

    @property
    def name(self) -> str:
        return type(self).__name__

    def meets(self, call: str) -> bool:
        """Whether this fault can happen to a call of that name at all."""
        return kind_of(call) in self.kinds

    @abstractmethod
    async def around(self, call: PortCall) -> Any:
        """Make the call, or not, and answer as the fault would have it."""

    def on_way(self, passage: Passage) -> None:
        """Let it pass, or not, as the fault would have it."""
        raise NotImplementedError(f"{self.name} can't happen to {passage.name}")


class CrashBefore(Fault):
    """The process dies on its way to the store: nothing happened."""

    async def around(self, call: PortCall) -> Any:
        raise call.process.crash()

    def on_way(self, passage: Passage) -> None:
        passage.process.crash()


class CrashAfter(Fault):
    """The process dies before it hears the answer: it happened."""

    async def around(self, call: PortCall) -> Any:
        try:
            await call.invoke()
        except PortError as error:
            raise call.process.crash() from error
        raise call.process.crash()

    def on_way(self, passage: Passage) -> None:
        passage.go()
        passage.process.crash()


class ReportedFailed(Fault):
    """It happened, and the caller is told that nobody knows."""

    kinds = _CHANGES
    why_not = "only a write can have happened unknown to its caller"

    async def around(self, call: PortCall) -> Any:
        try:
            await call.invoke()
        except PortError as error:
            raise UnknownOutcome(f"{call.name}: the answer was lost") from error
        raise UnknownOutcome(f"{call.name}: the answer was lost")


class Refused(Fault):
    """It did not happen: Unavailable, or with ``full`` StoreFull."""

    kinds = _ANSWERED
    why_not = "what goes one way is Lost instead"

    def __init__(self, *, full: bool = False) -> None:
        self._full = full
        if full:
            self.why_not = "only what takes room is refused for want of it"

    @property
    def name(self) -> str:
        return "RefusedFull" if self._full else "Refused"

    def meets(self, call: str) -> bool:
        return kind_of(call) is Kind.STORE if self._full else super().meets(call)

    async def around(self, call: PortCall) -> Any:
        # The refusal takes its way through the loop as any answer does.
        await asyncio.sleep(0)
        if self._full:
            raise StoreFull(f"{call.name}: the store has no room")
        raise Unavailable(f"{call.name}: the store is out of reach")


class Delayed(Fault):
    """A request and its answer take long, each at most ``longest``; what goes one way is late, at
    most by ``late``, which is longer than a lease."""

    def __init__(
        self,
        longest: timedelta = timedelta(seconds=2),
        *,
        late: timedelta = timedelta(seconds=25),
    ) -> None:
        self._longest = nanoseconds(longest) // MILLISECOND
        self._late = nanoseconds(late) // MILLISECOND

    async def around(self, call: PortCall) -> Any:
        draws = call.process.random
        there, back = (draws.randint(0, self._longest) / 1_000 for _ in range(2))
        await asyncio.sleep(there)
        try:
            return await call.invoke()
        finally:
            await asyncio.sleep(back)

    def on_way(self, passage: Passage) -> None:
        late = passage.process.random.choice((self._longest, self._late))
        delay = passage.process.random.randint(0, late) / 1_000
        asyncio.get_running_loop().call_later(delay, passage.go)


class Duplicated(Fault):
    """The request arrives twice; the caller hears the first answer. A delivery is handed over
    twice."""

    kinds = _CHANGES | {Kind.DELIVERY, Kind.WORD}
    why_not = "the second of two changes nothing, or is said at most once"

    async def around(self, call: PortCall) -> Any:
        answer = await call.invoke()
        try:
            await call.invoke()
        except PortError:
            # What the store says to the second one reaches nobody.
            return answer
        return answer

    def on_way(self, passage: Passage) -> None:
        passage.go()
        passage.go()


class Lost(Fault):
    """What goes one way never arrives; an answerer is not heard in time."""

    kinds = _ONE_WAY
    why_not = "a request or answer that is lost is Refused or ReportedFailed"

    async def around(self, call: PortCall) -> Any:
        await asyncio.sleep(_FOR_GOOD)
        return await call.invoke()

    def on_way(self, passage: Passage) -> None:
        """It is gone."""


class Reordered(Fault):
    """The next one of its kind overtakes it."""

    kinds = _ONE_WAY
    why_not = "of calls that wait for their answers a Delayed one is overtaken"

    async def around(self, call: PortCall) -> Any:
        overtaken = asyncio.Event()
        call.process.after_next(call.name, overtaken.set)
        await overtaken.wait()
        return await call.invoke()

    def on_way(self, passage: Passage) -> None:
        passage.process.after_next(passage.name, passage.go)


class PausedBefore(Fault):
    """The process stands still on its way, and goes on as if nothing had been."""

    async def around(self, call: PortCall) -> Any:
        call.process.pause()
        await asyncio.sleep(0)
        return await call.invoke()

    def on_way(self, passage: Passage) -> None:
        passage.process.pause()
        asyncio.get_running_loop().call_soon(passage.go)


class PausedAfter(Fault):
    """It happened, the process stands still, and hears the answer when it wakes up."""

    async def around(self, call: PortCall) -> Any:
        try:
            return await call.invoke()
        finally:
            call.process.pause()
            await asyncio.sleep(0)

    def on_way(self, passage: Passage) -> None:
        passage.go()
        passage.process.pause()


class ClockStepped(Fault):
    """Another server leads the store from here on, and its clock shows another time."""

    async def around(self, call: PortCall) -> Any:
        call.process.step_clock()
        return await call.invoke()

    def on_way(self, passage: Passage) -> None:
        passage.process.step_clock()
        passage.go()


def every_fault() -> list[Fault]:
    """One of each."""
    return [
        CrashBefore(),
        CrashAfter(),
        ReportedFailed(),
        Refused(),
        Refused(full=True),
        Delayed(),
        Duplicated(),
        Lost(),
        Reordered(),
        PausedBefore(),
        PausedAfter(),
        ClockStepped(),
    ]


def soon(go: Callable[[], None]) -> None:
    """Let ``go`` pass after a while, whether anything overtakes it or not."""
    asyncio.get_running_loop().call_later(_NEXT, go)
