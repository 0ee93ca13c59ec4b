"""Which call meets which fault: drawn from a seed, or placed exactly, and counted."""

import random
from bisect import bisect
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final

from perdure.ports.backend import Backend
from perdure.testing.fault_proxies import wrap_backend
from perdure.testing.faults import Fault, Passage, PortCall, SimulatedCrash, soon


@dataclass(frozen=True, slots=True)
class At:
    """One fault at a known place: the ``nth`` call (from 1) of ``call``, e.g. ``log.commit``."""

    call: str
    nth: int
    fault: Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What a process does when a fault meets it, and who looks on.

    ``on_crash`` should stop the process's tasks and cut its connection, ``on_pause`` make it stand
    still for a while, ``on_step`` step the store's clock. ``watch`` is told the name of each call
    when it is over, what it was about, the fault that met it, and what came of it.
    """

    on_crash: Callable[[], None] | None = None
    on_pause: Callable[[], None] | None = None
    on_step: Callable[[], None] | None = None
    watch: Callable[[str, tuple[Any, ...], str, Any], None] | None = None


_HARMLESS: Final = Fate()


@dataclass(slots=True)
class _Odds:
    """The faults that can meet a call, by their growing sum of chances."""

    sums: list[float] = field(default_factory=list[float])
    faults: list[Fault] = field(default_factory=list[Fault])


class FaultPlan:
    """Which call meets which fault.

    ``rates`` gives each fault's chance per call that it can meet, ``weights`` multiplies it for
    some calls (``members.beat``); ``at`` places faults exactly; ``only`` keeps the random ones to
    some calls (``log.commit``) or ports (``log``). No call meets two faults. :meth:`calm` ends the
    random ones, so that a simulation can settle.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        rates: Mapping[Fault, float] | None = None,
        weights: Mapping[str, float] | None = None,
        at: Iterable[At] = (),
        only: Iterable[str] = (),
    ) -> None:
        self._random = random.Random(seed)
        self._rates = dict(rates or {})
        self._weights = dict(weights or {})
        self._odds: dict[str, _Odds] = {}
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

    def wrap(
        self,
        backend: Backend,
        *,
        on_crash: Callable[[], None] | None = None,
        fate: Fate | None = None,
    ) -> Backend:
        """``backend`` seen through this plan: one process of the simulation.

        A crash calls ``on_crash`` and raises SimulatedCrash in the call, as every later call of
        this backend does; its deliveries fall silent.
        """
        fate = fate or (Fate(on_crash=on_crash) if on_crash is not None else _HARMLESS)
        return wrap_backend(backend, ProcessFaults(self, fate))

    def calm(self) -> None:
        """From now on nothing happens by chance."""
        self._rates.clear()
        self._odds.clear()

    def decide(self, call: str) -> Fault | None:
        """The fault that meets this call; counts both."""
        self.calls[call] += 1
        fault = self._at.get((call, self.calls[call])) if self._at else None
        fault = fault or self._draw(call)
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
        odds = self._odds.get(call)
        if odds is None:
            odds = self._odds[call] = self._odds_of(call)
        if not odds.sums:
            return None
        position = bisect(odds.sums, self._random.random())
        return odds.faults[position] if position < len(odds.faults) else None

    def _odds_of(self, call: str) -> _Odds:
        if self._only and call not in self._only and call.partition(".")[0] not in self._only:
            return _Odds()
        weight = self._weights.get(call, 1.0)
        rates = {fault: rate * weight for fault, rate in self._rates.items() if fault.meets(call)}
        return _Odds(list(accumulate(rates.values())), list(rates))


class ProcessFaults:
    """A plan as one process meets it: it remembers that the process is dead."""

    def __init__(self, plan: FaultPlan, fate: Fate) -> None:
        self._plan = plan
        self._fate = fate
        self._overtaken: dict[str, list[Callable[[], None]]] = {}
        self.dead = False

    # what a fault can do to it

    @property
    def random(self) -> random.Random:
        return self._plan.random

    def crash(self) -> SimulatedCrash:
        if not self.dead:
            self.dead = True
            if self._fate.on_crash is not None:
                self._fate.on_crash()
        return SimulatedCrash("the process died here, as the plan wanted it")

    def pause(self) -> None:
        if self._fate.on_pause is not None:
            self._fate.on_pause()

    def step_clock(self) -> None:
        if self._fate.on_step is not None:
            self._fate.on_step()

    def after_next(self, name: str, go: Callable[[], None]) -> None:
        waiting = self._overtaken.setdefault(name, [])

        def pass_once() -> None:
            if pass_once in waiting:
                waiting.remove(pass_once)
                go()

        waiting.append(pass_once)
        soon(pass_once)

    # what the proxies ask

    def check_alive(self) -> None:
        if self.dead:
            raise SimulatedCrash("the process is dead: it makes no calls")

    async def call(
        self, name: str, invoke: Callable[[], Awaitable[Any]], about: tuple[Any, ...]
    ) -> Any:
        """One port call with whatever meets it."""
        self.check_alive()
        fault = self._plan.decide(name)
        if self._fate.watch is not None:
            return await self._watched(name, invoke, about, fault)
        if fault is None:
            answer = await invoke()
        else:
            answer = await fault.around(PortCall(name, invoke, self))
        self._let_overtaken_pass(name)
        self.check_alive()
        return answer

    async def _watched(
        self,
        name: str,
        invoke: Callable[[], Awaitable[Any]],
        about: tuple[Any, ...],
        fault: Fault | None,
    ) -> Any:
        assert self._fate.watch is not None
        outcome: Any = None
        try:
            if fault is None:
                outcome = await invoke()
            else:
                outcome = await fault.around(PortCall(name, invoke, self))
            self._let_overtaken_pass(name)
            self.check_alive()
            return outcome
        except BaseException as error:
            outcome = error
            raise
        finally:
            self._fate.watch(name, about, fault.name if fault else "", outcome)

    def pass_on(self, name: str, go: Callable[[], None], about: tuple[Any, ...]) -> None:
        """Something that goes one way, with whatever meets it."""
        if self.dead:
            return
        fault = self._plan.decide(name)
        if self._fate.watch is not None:
            self._fate.watch(name, about, fault.name if fault else "", None)
        if fault is None:
            go()
            self._let_overtaken_pass(name)
            return

        def unless_dead() -> None:
            if not self.dead:
                go()

        fault.on_way(Passage(name, unless_dead, self))

    def _let_overtaken_pass(self, name: str) -> None:
        if self._overtaken:
            for go in list(self._overtaken.get(name, ())):
                go()
