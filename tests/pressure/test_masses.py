"""Great numbers of what waits: timers in the store, and workflows in one scheduler."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.crowds import each, memory_of, size
from support.nats_server import RunningServer, running_server
from support.samples import chance
from support.sleepers import Alarm, Either, Patient, Quick

from perdure.client import Client, WorkflowHandle
from perdure.core.durations import SECOND
from perdure.core.events import TimerFired, decode_event, encode_event
from perdure.ports.addresses import Address, Lane, Stored, TimerKey
from perdure.ports.backend import Backend
from perdure.worker import Worker

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]

TIMERS = size(100_000, 5_000)
WAITING = size(10_000, 400)
SLEEPING = size(5_000, 300)


@asynccontextmanager
async def working(client: Client, *, max_cached: int = 20_000) -> AsyncGenerator[Worker]:
    async with Worker(
        client,
        task_queue="default",
        workflows=[Alarm, Patient, Quick, Either],
        max_cached_workflows=max_cached,
    ) as worker:
        yield worker


async def all_fired(backend: Backend, addresses: list[Address], count: int) -> list[Stored]:
    """What came into the lanes, once it is so much."""
    lanes: dict[Address, list[Stored]] = {address: [] for address in addresses}

    async def read_on(address: Address) -> None:
        found = lanes[address]
        after = found[-1].seq if found else 0
        found += await backend.log.following(address, Lane.ENGINE, after, limit=1_000)

    while sum(map(len, lanes.values())) < count:
        await each(addresses, read_on, at_a_time=8)
        await asyncio.sleep(0.2)
    return [stored for lane in lanes.values() for stored in lane]


@pytest.mark.timeout(300)
async def test_pending_timers_are_neither_lost_nor_early(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        async with await Client.connect(server.url) as client:
            backend = client.backend
            addresses = [Address("nobody", f"workflow-{n}") for n in range(200)]
            begin = time.monotonic()
            spread, first = size(10, 3) * SECOND, time.time_ns() + size(30, 4) * SECOND
            draws = chance("timers")
            dues = {n: first + draws.randrange(spread) for n in range(TIMERS)}

            async def arm(n: int) -> int:
                key = TimerKey(addresses[n % len(addresses)], "run", n)
                fired = encode_event(TimerFired(run="run", n=n, due=dues[n]))
                return await backend.timers.arm(key, dues[n], fired)

            armed = await each(dues, arm, at_a_time=500)
            assert len(set(armed)) == TIMERS
            took = time.monotonic() - begin
            before = memory_of(server.pid)
            await restarted_with_pending(client, server)
            async with asyncio.timeout(240):
                fired = await all_fired(backend, addresses, TIMERS)
            print(f"\narmed {TIMERS} in {took:.1f} s, server {before} MB, {lateness(fired)}")
            count = Counter(timer_of(stored).n for stored in fired)
            assert len(count) == TIMERS
            # The store may fire one twice when it is killed between the two halves of it.
            assert set(count.values()) == {1}
            early = [s for s in fired if s.timestamp < timer_of(s).due]
            assert early == []


def timer_of(stored: Stored) -> TimerFired:
    event = decode_event(stored.data)
    assert isinstance(event, TimerFired)
    return event


def lateness(fired: list[Stored]) -> str:
    late = sorted((s.timestamp - timer_of(s).due) / 1e6 for s in fired)
    part = statistics.quantiles(late, n=100)
    return f"late {part[49]:.0f} ms at the median, {part[98]:.0f} ms at the 99th, {late[-1]:.0f} ms"


async def restarted_with_pending(client: Client, server: RunningServer) -> None:
    """A scheduler begins its work beside all that waits: its own comes first."""
    begin = time.monotonic()
    async with working(client):
        assert await client.execute_workflow(Quick.run, "hi", id="quick") == "hi"
        print(f"\na scheduler began with {TIMERS} timers in {time.monotonic() - begin:.1f} s")


async def started(client: Client, kind: type, name: str, *args: object) -> None:
    await client.start_workflow(kind.__name__, args=list(args), id=name)


async def taken_up(client: Client, names: list[str]) -> None:
    """Every one of them has come to where it waits: a query goes behind what is pending."""

    async def look(name: str) -> None:
        handle: WorkflowHandle[object, object] = client.get_workflow_handle(name)
        while not (await handle.describe()).history_length:
            await asyncio.sleep(0.2)

    await each(names, look, at_a_time=50)


@pytest.mark.timeout(300)
async def test_waiting_workflows_answer_whether_cached_or_not(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        async with await Client.connect(server.url) as client:
            names = [f"patient-{n}" for n in range(WAITING)]
            begin = time.monotonic()
            async with working(client, max_cached=WAITING // 2):
                await each(names, lambda name: started(client, Patient, name, name))
                await taken_up(client, chance("taken up").sample(names, WAITING // 20))
                print(f"\n{WAITING} began in {time.monotonic() - begin:.1f} s")
                begin = time.monotonic()

                async def answered(name: str) -> object:
                    handle: WorkflowHandle[object, object] = client.get_workflow_handle(name)
                    await handle.signal("hear", f"hello {name}")
                    return await handle.result(120)

                some = chance("answered").sample(names, WAITING // 5)
                results = await each(some, answered)
                assert results == [f"{name} heard hello {name}" for name in some]
                print(f"{len(some)} answered in {time.monotonic() - begin:.1f} s")


@pytest.mark.timeout(300)
async def test_sleeping_workflows_hold_nobody_up_and_all_wake(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        async with await Client.connect(server.url) as client:
            patients = [f"patient-{n}" for n in range(SLEEPING // 2)]
            alarms = [f"alarm-{n}" for n in range(SLEEPING // 2)]
            wake = datetime.now(UTC) + timedelta(seconds=size(45, 5))
            async with working(client):
                await each(patients, lambda name: started(client, Patient, name, name))
                await each(alarms, lambda name: started(client, Alarm, name, wake.isoformat()))
                begin = time.monotonic()
                assert await client.execute_workflow(Quick.run, "hi", id="quick-1") == "hi"
                print(f"\na short one beside {SLEEPING}: {time.monotonic() - begin:.2f} s")
            begin = time.monotonic()
            async with working(client):
                assert await client.execute_workflow(Quick.run, "hi", id="quick-2") == "hi"
                print(f"after the restart: {time.monotonic() - begin:.2f} s")
                # Some are asked, others only woken by their time.
                await each(
                    patients, lambda name: client.get_workflow_handle(name).signal("hear", "1")
                )
                heard = await each(
                    patients, lambda name: client.get_workflow_handle(name).result(200)
                )
                woken = await each(
                    alarms, lambda name: client.get_workflow_handle(name).result(200)
                )
            assert heard == [f"{name} heard 1" for name in patients]
            assert len(woken) == len(alarms)
            assert min(datetime.fromisoformat(str(when)) for when in woken) >= wake
            print(f"server {memory_of(server.pid)} MB")
