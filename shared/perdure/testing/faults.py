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
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from perdure.core.durations import MILLISECOND, nanoseconds
from perdure.ports.backend import Backend
from perdure.ports.errors import PortError, StoreFull, Unavailable, UnknownOutcome
from perdure.testing.fault_proxies import wrap_backend

WRITES: Final = frozenset(
    {
        "log.append", "log.commit", "log.purge",
        "tasks.offer", "tasks.replace", "tasks.remove",
        "heartbeats.beat",
        "timers.arm", "timers.fire", "timers.cancel", "timers.rearm",
        "state.create", "state.update",
        "blobs.put", "blobs.delete",
        "archive.put",
        "announcements.announce",
        "dead_letters.put", "dead_letters.remove",
        "replies.reply",
        "messages.tell",
        "members.beat", "members.leave",
    }
)  # fmt: skip
"""Calls that change something: they can have happened although the caller was told otherwise."""

DELIVERIES: Final = frozenset({"inbox.delivery", "tasks.delivery", "ingress.delivery"})
"""Callbacks of subscriptions that offer at least once."""

CALLBACKS: Final = DELIVERIES | {"messages.word", "state.change"}
"""All callbacks: a process can die on hearing one, but nobody answers one."""


class SimulatedCrash(BaseException):
    """The process died here. Not an Exception: nothing of a dead process handles its own death."""


@dataclass(slots=True)
class PortCall:
    """One call that a fault meets: ``invoke`` makes it, as often as it is asked."""

    name: str
    invoke: Callable[[], Awaitable[Any]]
    random: random.Random
    crash: Callable[[], SimulatedCrash]


class Fault(ABC):
    """What may happen to a call. Its name in counts is the class's."""

    @property
    def name(self) -> str:
        return type(self).__name__

    def meets(self, call: str) -> bool:
        """Whether this fault can happen to a call of that name at all."""
        return call not in CALLBACKS

    @abstractmethod
    async def around(self, call: PortCall) -> Any:
        """Make the call, or not, and answer as the fault would have it."""


class CrashBefore(Fault):
    """The process dies on its way to the store: nothing happened."""

    def meets(self, call: str) -> bool:
        return True

    async def around(self, call: PortCall) -> Any:
        raise call.crash()


class CrashAfter(Fault):
    """The process dies before it hears the answer: it happened."""

    async def around(self, call: PortCall) -> Any:
        try:
            await call.invoke()
        except PortError as error:
            raise call.crash() from error
        raise call.crash()


class ReportedFailed(Fault):
    """It happened, and the caller is told that nobody knows."""

    def meets(self, call: str) -> bool:
        return call in WRITES

    async def around(self, call: PortCall) -> Any:
        try:
            await call.invoke()
        except PortError as error:
            raise UnknownOutcome(f"{call.name}: the answer was lost") from error
        raise UnknownOutcome(f"{call.name}: the answer was lost")


class Refused(Fault):
    """It did not happen: Unavailable, or with ``full`` StoreFull."""

    def __init__(self, *, full: bool = False) -> None:
        self._full = full

    @property
    def name(self) -> str:
        return "RefusedFull" if self._full else "Refused"

    def meets(self, call: str) -> bool:
        return call in WRITES if self._full else super().meets(call)

    async def around(self, call: PortCall) -> Any:
        # The refusal takes its way through the loop as any answer does.
        await asyncio.sleep(0)
        if self._full:
            raise StoreFull(f"{call.name}: the store has no room")
        raise Unavailable(f"{call.name}: the store is out of reach")


class Delayed(Fault):
    """The request or its answer takes long, at most ``longest``."""

    def __init__(self, longest: timedelta = timedelta(seconds=2)) -> None:
        self._longest = nanoseconds(longest) // MILLISECOND

    async def around(self, call: PortCall) -> Any:
        there, back = (call.random.randint(0, self._longest) / 1_000 for _ in range(2))
        await asyncio.sleep(there)
        try:
            return await call.invoke()
        finally:
            await asyncio.sleep(back)


class Duplicated(Fault):
    """The request arrives twice; the caller hears the first answer. A delivery is handed over
    twice."""

    def meets(self, call: str) -> bool:
        return call in WRITES or call in DELIVERIES

    async def around(self, call: PortCall) -> Any:
        answer = await call.invoke()
        try:
            await call.invoke()
        except PortError:
            # What the store says to the second one reaches nobody.
            return answer
        return answer


@dataclass(frozen=True, slots=True)
class At:
    """One fault at a known place: the ``nth`` call (from 1) of ``call``, e.g. ``log.commit``."""

    call: str
    nth: int
    fault: Fault


class FaultPlan:
    """Which call meets which fault.

    ``rates`` gives each fault's chance per call that it can meet; ``at`` places faults exactly;
    ``only`` keeps the random ones to some calls (``log.commit``) or ports (``log``). No call meets
    two faults. :meth:`calm` ends the random ones, so that a simulation can settle.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        rates: Mapping[Fault, float] | None = None,
        at: Iterable[At] = (),
        only: Iterable[str] = (),
    ) -> None:
        self._random = random.Random(seed)
        self._rates = dict(rates or {})
        self._at: dict[tuple[str, int], Fault] = {}
        for place in at:
            if not place.fault.meets(place.call):
                raise ValueError(f"{place.fault.name} can't happen to {place.call}")
            self._at[place.call, place.nth] = place.fault
        self._only = frozenset(only)
        self.calls: Counter[str] = Counter()
        """How often each port call was made, e.g. ``log.commit``."""
        self.met: Counter[tuple[str, str]] = Counter()
        """How often each fault (by name) met each port call."""

    def wrap(self, backend: Backend, *, on_crash: Callable[[], None] | None = None) -> Backend:
        """``backend`` seen through this plan: one process of the simulation.

        A crash calls ``on_crash`` (which should stop the process's tasks and cut its connection)
        and raises SimulatedCrash in the call, as every later call of this backend does; its
        deliveries fall silent.
        """
        return wrap_backend(backend, ProcessFaults(self, on_crash))

    def calm(self) -> None:
        """From now on nothing happens by chance."""
        self._rates.clear()

    def decide(self, call: str) -> Fault | None:
        """The fault that meets this call; counts both."""
        self.calls[call] += 1
        fault = self._at.get((call, self.calls[call])) or self._draw(call)
        if fault is not None:
            self.met[fault.name, call] += 1
        return fault

    def report(self) -> str:
        """A table of what met what, for people."""
        lines = [f"{call}: {count} calls" for call, count in sorted(self.calls.items())]
        lines += [f"{fault} met {call}: {n}" for (fault, call), n in sorted(self.met.items())]
        return "\n".join(lines)

    @property
    def random(self) -> random.Random:
        return self._random

    def _draw(self, call: str) -> Fault | None:
        if self._only and call not in self._only and call.partition(".")[0] not in self._only:
            return None
        for fault, rate in self._rates.items():
            if fault.meets(call) and self._random.random() < rate:
                return fault
        return None


class ProcessFaults:
    """A plan as one process meets it: it remembers that the process is dead."""

    def __init__(self, plan: FaultPlan, on_crash: Callable[[], None] | None) -> None:
        self._plan = plan
        self._on_crash = on_crash
        self.dead = False

    def crash(self) -> SimulatedCrash:
        if not self.dead:
            self.dead = True
            if self._on_crash is not None:
                self._on_crash()
        return SimulatedCrash("the process died here, as the plan wanted it")

    def check_alive(self) -> None:
        if self.dead:
            raise SimulatedCrash("the process is dead: it makes no calls")

    async def call(self, name: str, invoke: Callable[[], Awaitable[Any]]) -> Any:
        """One port call with whatever meets it."""
        self.check_alive()
        fault = self._plan.decide(name)
        if fault is None:
            answer = await invoke()
        else:
            answer = await fault.around(PortCall(name, invoke, self._plan.random, self.crash))
        self.check_alive()
        return answer

    def deliver(self, name: str, hand_over: Callable[[], None]) -> None:
        """One delivery with whatever meets it."""
        if self.dead:
            return
        fault = self._plan.decide(name)
        if isinstance(fault, CrashBefore):
            self.crash()
            return
        hand_over()
        if isinstance(fault, Duplicated) and not self.dead:
            hand_over()
