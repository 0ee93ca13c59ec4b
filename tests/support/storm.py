"""A seeded deployment in a storm of faults: deaths, freezes, lost answers, full stores.

Every seed is one day in the life of a small deployment: two schedulers per task queue, two workers,
two gateways. Its ids are used twice, on either queue. What must be true when the storm has passed is
in :mod:`support.storm_judge`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from support.gates import Gates
from support.mortal import Mortal, rest_of
from support.redteam import Alone
from support.storm_code import APP, FINISHED
from support.storm_judge import judge, judge_store, stuck
from support.world import World

from perdure.core.durations import SECOND
from perdure.core.errors import UnavailableError
from perdure.core.events import (
    WorkflowCancelRequested,
    WorkflowSignaled,
    WorkflowTerminateRequested,
    encode_event,
)
from perdure.core.ids import run_id_for
from perdure.engine.activities.worker import ActivityWorker
from perdure.engine.delivery import OutsideEvent, deliver
from perdure.engine.ingress import IngressDrain
from perdure.engine.scheduler import Scheduler, SchedulerOptions
from perdure.engine.starts import StartRequest, start
from perdure.exceptions import WorkflowNotFoundError
from perdure.ports.addresses import Address, Lane
from perdure.ports.backend import Backend
from perdure.testing.faults import (
    CrashAfter,
    CrashBefore,
    Delayed,
    Duplicated,
    Fault,
    FaultPlan,
    Refused,
    ReportedFailed,
)

QUEUES = ("default", "other")
KINDS = ("Errand", "Collector", "Chain", "Careful", "Doomed", "Hasty", "Patient", "Polite")
GRACE = 60 * SECOND


def faults(level: float) -> dict[Fault, float]:
    return {
        CrashBefore(): 0.002 * level,
        CrashAfter(): 0.002 * level,
        ReportedFailed(): 0.005 * level,
        Refused(): 0.005 * level,
        Delayed(): 0.01 * level,
        Duplicated(): 0.005 * level,
    }


@dataclass
class Life:
    """One run of one id, and what its senders were told."""

    kind: str
    workflow_id: str
    queue: str
    run: str = ""
    accepted: list[int] = field(default_factory=list[int])
    doubtful: list[int] = field(default_factory=list[int])
    """Letters of whose fate their sender was told nothing."""
    ingress: dict[int, int] = field(default_factory=dict[int, int])
    """Letters by the sequence of their request."""


class Gateway:
    """A drainer of the front door as a process has it."""

    def __init__(self, backend: Backend, name: str) -> None:
        self._drain = IngressDrain(backend, member=name, patience=30.0)

    async def run(self) -> None:
        async with self._drain:
            await asyncio.Event().wait()


class Deployment:
    """The processes of one seed."""

    def __init__(self, seed: int, level: float) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.plan = FaultPlan(seed, rates=faults(level))
        self.world = World(APP)
        self.gates: dict[str, Gates] = {}
        self.freezes = 0
        self.two_owners = self.chance.random() < 0.5
        self.parts: dict[str, Mortal] = {}
        for queue in QUEUES:
            for number in range(2):
                self._add(f"s-{queue}-{number}", self._scheduler(queue))
                self._add(f"w-{queue}-{number}", self._worker(queue))
        for number in range(2):
            self._add(f"g-{number}", lambda backend, name: Gateway(backend, name))

    def _add(self, name: str, make: Any) -> None:
        def one(backend: Backend) -> Any:
            gates = self.gates[name] = Gates()
            return make(gates.wrap(backend), name)

        rest = rest_of(self.seed + len(self.parts))
        self.parts[name] = Mortal(self.world.store, self.plan, one, rest=rest)

    def _scheduler(self, queue: str) -> Any:
        cached = self.chance.choice((0, 2, 100))

        def make(backend: Backend, name: str) -> Scheduler:
            if self.two_owners:
                backend = replace(backend, members=Alone(backend.members))
            options = SchedulerOptions(
                task_queue=queue, identity=name, max_cached=cached, purge_grace=GRACE
            )
            return Scheduler(backend, APP, converter=self.world.converter, options=options)

        return make

    def _worker(self, queue: str) -> Any:
        def make(backend: Backend, name: str) -> ActivityWorker:
            return ActivityWorker(
                backend,
                APP,
                task_queue=queue,
                converter=self.world.converter,
                identity=name,
            )

        return make

    async def weather(self) -> None:
        """Freezes and full stores, until cancelled."""
        chance = random.Random(self.seed + 1)
        while True:
            await asyncio.sleep(chance.uniform(1, 20))
            if chance.random() < 0.2:
                self.world.store.full = True
                await asyncio.sleep(chance.uniform(2, 20))
                self.world.store.full = False
            elif self.gates:
                gates = self.gates[chance.choice(sorted(self.gates))]
                self.freezes += 1
                gates.freeze()
                later = asyncio.get_running_loop().call_later
                later(chance.uniform(5, 60), gates.thaw)

    def calm(self) -> None:
        self.plan.calm()
        self.world.store.full = False
        for gates in self.gates.values():
            gates.thaw()

    @property
    def explained(self) -> int:
        """How many activities may have run again."""
        deaths = sum(part.deaths for name, part in self.parts.items() if name.startswith("w-"))
        return deaths + self.freezes + sum(self.plan.met.values())


async def storm(seed: int, *, level: float = 1.0, workflows: int = 8) -> FaultPlan:
    """Run one seed to its end; raises AssertionError for a broken promise."""
    FINISHED.clear()
    one = Deployment(seed, level)
    for name, part in one.parts.items():
        part.begin(name)
    weather = asyncio.create_task(one.weather())
    try:
        lives: list[Life] = []
        for turn in range(2):
            begun = [_new_life(one, number, turn) for number in range(workflows)]
            async with asyncio.timeout(40_000):
                await asyncio.gather(*(_live(one, life, turn) for life in begun))
            lives += begun
            await _all_closed(one, begun, weather)
        weather.cancel()
        one.calm()
        refused = await _refused(one)
        for life in lives:
            for seq, letter in life.ingress.items():
                if seq not in refused:
                    life.accepted.append(letter)
            await judge(one.world, life)
        await judge_store(one.world, grace=GRACE / SECOND)
    finally:
        weather.cancel()
        one.calm()
        for part in one.parts.values():
            await part.end()
    doubled = {key: count for key, count in FINISHED.items() if count > 1}
    assert sum(count - 1 for count in doubled.values()) <= one.explained, f"ran twice: {doubled}"
    return one.plan


def _new_life(one: Deployment, number: int, turn: int) -> Life:
    queue = one.chance.choice(QUEUES)
    kind = KINDS[(number + turn * one.chance.randrange(2)) % len(KINDS)]
    return Life(kind=kind, workflow_id=f"id-{number}", queue=queue)


async def _all_closed(one: Deployment, lives: list[Life], weather: asyncio.Task[None]) -> None:
    for patience in (900, 1_200):
        try:
            async with asyncio.timeout(patience):
                for life in lives:
                    await one.world.closed(life.workflow_id)
            return
        except TimeoutError:
            # Too much weather to get anything done is no fault; silence afterwards is one.
            weather.cancel()
            one.calm()
    raise AssertionError(await stuck(one.world, [life.workflow_id for life in lives]))


async def _refused(one: Deployment) -> set[int]:
    """Requests that the front door refused, once all are settled."""
    last = one.world.store._server.requests.last
    async with asyncio.timeout(600):
        while await one.world.client.ingress.settled() < last:
            await asyncio.sleep(1)
    letters = [
        msgspec.json.decode(letter.data) async for letter in one.world.client.dead_letters.scan()
    ]
    return {letter["ingress_seq"] for letter in letters if "ingress_seq" in letter}


# What happens to one life from outside.


async def _live(one: Deployment, life: Life, turn: int) -> None:
    chance = random.Random(f"{one.seed}:{life.workflow_id}:{turn}")
    await asyncio.sleep(chance.random() * 3)
    await _begin(one, life, turn, by_door=chance.random() < 0.4)
    match life.kind:
        case "Errand" | "Collector" | "Chain":
            await _post(one, life, turn, chance)
        case "Careful":
            await asyncio.sleep(chance.random() * 10)
            eid = f"cancel:{life.workflow_id}:{turn}"
            await _send(one, life, WorkflowCancelRequested(eid=eid, run=life.run), chance)
        case "Doomed":
            await asyncio.sleep(chance.random() * 10)
            eid = f"terminate:{life.workflow_id}:{turn}"
            await _send(one, life, WorkflowTerminateRequested(eid=eid, run=life.run), chance)
        case _:
            pass


async def _begin(one: Deployment, life: Life, turn: int, *, by_door: bool) -> None:
    timeout = 20 if life.kind == "Hasty" else 0
    if by_door:
        body: dict[str, Any] = {"id": life.workflow_id, "args": [3], "task_queue": life.queue}
        body |= {"timeout": timeout} if timeout else {}
        before = await one.world.entry(life.workflow_id)
        await _request(one, "start", (life.kind,), msgspec.json.encode(body))
        async with asyncio.timeout(20_000):
            while True:
                entry = await one.world.entry(life.workflow_id)
                if entry is not None and (before is None or entry.run != before.run):
                    life.run = entry.run
                    return
                await asyncio.sleep(1)
    request = StartRequest(
        workflow_id=life.workflow_id,
        workflow_type=life.kind,
        args=[one.world.converter.to_payload(3)],
        task_queue=life.queue,
        request_id=f"{life.workflow_id}:{turn}",
        requested_at=one.world.client.clock.now(),
        run_timeout=timeout * SECOND,
    )
    while True:
        try:
            await start(one.world.client, request)
            life.run = run_id_for(request.request_id, request.requested_at)
            return
        except UnavailableError:
            await asyncio.sleep(1)


async def _request(one: Deployment, kind: Any, tokens: tuple[str, ...], body: bytes) -> int:
    while True:
        try:
            return await one.world.store.request(kind, tokens, body)
        except Exception:
            await asyncio.sleep(1)


async def _post(one: Deployment, life: Life, turn: int, chance: random.Random) -> None:
    """Three letters that are needed, and more that come when they like."""
    extra = 4 if life.kind == "Collector" else 0
    senders: list[Any] = []
    for number in range(3 + extra):
        await asyncio.sleep(chance.choice((0.0, 0.0, 0.01, 0.1, 2.0)))
        senders.append(asyncio.create_task(_letter(one, life, turn, number, chance)))
    await asyncio.gather(*senders)


async def _letter(
    one: Deployment, life: Life, turn: int, number: int, chance: random.Random
) -> None:
    if chance.random() < 0.25:
        body = msgspec.json.encode(number)
        seq = await _request(one, "signal", (life.workflow_id, "post"), body)
        life.ingress[seq] = number
        return
    event = WorkflowSignaled(
        eid=f"post:{life.workflow_id}:{turn}:{number}",
        name="post",
        args=[one.world.converter.to_payload(number)],
        run=life.run if chance.random() < 0.5 else "",
    )
    try:
        await _send(one, life, event, chance)
    except WorkflowNotFoundError:
        return
    life.accepted.append(number)


async def _send(one: Deployment, life: Life, event: OutsideEvent, chance: random.Random) -> None:
    """Send it until there is an answer; now and then it arrives twice, whatever the store does."""
    again = False
    while True:
        try:
            await deliver(one.world.client, life.workflow_id, event, again=again)
            break
        except UnavailableError:
            again = True
            await asyncio.sleep(1)
    if chance.random() < 0.2:
        event = msgspec.structs.replace(event, run=life.run)
        with contextlib.suppress(Exception):
            await one.world.client.log.append(
                Address(life.queue, life.workflow_id), Lane.EXTERNAL, encode_event(event)
            )


__all__ = ["storm"]
