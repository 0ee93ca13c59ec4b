"""A store that is nearly full: new workflows are refused at every door, what runs goes on."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from scenarios.doors.client_world import ORDER, World, with_scheduler, without_scheduler
from scenarios.doors.door import Door, at_the_door, drained, letters_of
from scenarios.doors.world import entry_of, identities_of, take_up

from perdure.adapters.memory.backend import MemoryStore
from perdure.client import StoreFullError, WorkflowAlreadyStartedError, WorkflowIDConflictPolicy
from perdure.engine.admission import Admission
from perdure.ports.backend import Backend
from perdure.ports.capacity import Usage
from perdure.ports.errors import Unavailable
from perdure.testing.virtual_time import run


class Gauge:
    """A capacity that says what it is told to, and counts who asks."""

    def __init__(self, *usages: Usage | Unavailable) -> None:
        self.usages: list[Usage | Unavailable] = list(usages)
        self.asked = 0

    def says(self, *usages: Usage | Unavailable) -> None:
        self.usages = list(usages)

    async def usage(self) -> Usage:
        self.asked += 1
        usage = self.usages[0] if len(self.usages) == 1 else self.usages.pop(0)
        await asyncio.sleep(0.01)
        if isinstance(usage, Unavailable):
            raise usage
        return usage


def guarded(gauge: Gauge) -> Admission:
    backend: Any = type("Backing", (), {"capacity": gauge, "store_threshold": 0.85})
    return Admission(backend)


def test_it_closes_at_the_threshold_and_opens_well_below() -> None:
    async def scenario() -> None:
        gauge = Gauge(*(Usage(used, 100) for used in (84, 85, 82, 81, 79, 84)))
        admission = guarded(gauge)
        open_at: list[bool] = []
        for _ in range(6):
            open_at.append(not await admission.refusal())
            await asyncio.sleep(5)
        assert open_at == [True, False, False, False, True, True]

    run(scenario())


def test_many_ask_and_the_store_is_asked_once_a_beat() -> None:
    async def scenario() -> None:
        gauge = Gauge(Usage(10, 100))
        admission = guarded(gauge)
        for _ in range(10):
            answers = await asyncio.gather(*(admission.refusal() for _ in range(1_000)))
            assert not any(answers)
            await asyncio.sleep(1)
        assert gauge.asked == 2

    run(scenario())


def test_a_store_that_does_not_say_is_taken_for_what_it_was() -> None:
    async def scenario() -> None:
        unknown = guarded(Gauge(Unavailable("away")))
        assert await unknown.refusal() == ""
        filled = guarded(Gauge(Usage(90, 100), Unavailable("away"), Usage(1, 100)))
        assert "90% full (90 of 100 bytes)" in await filled.refusal()
        await asyncio.sleep(5)
        assert await filled.refusal()
        await asyncio.sleep(5)
        assert not await filled.refusal()

    run(scenario())


def test_without_a_known_limit_a_refusal_of_the_store_closes_it_for_a_while() -> None:
    async def scenario() -> None:
        gauge = Gauge(Usage(1_000))
        admission = guarded(gauge)
        assert not await admission.refusal()
        rests: list[float] = []
        now = asyncio.get_running_loop().time
        for _ in range(3):
            admission.met_full()
            admission.met_full()
            closed_at = now()
            while await admission.refusal():
                await asyncio.sleep(0.5)
            rests.append(round(now() - closed_at))
        assert rests == [10, 20, 40]
        admission.met_full()
        assert "the store is full" in await admission.refusal()
        # Much was taken away: no reason to rest any longer.
        gauge.says(Usage(900))
        await asyncio.sleep(0.6)
        assert not await admission.refusal()

    run(scenario())


def test_the_client_refuses_what_would_begin_and_nothing_else() -> None:
    async def scenario(world: World) -> None:
        client, store = world.client, world.store
        running = await client.start_workflow("Shopping", ORDER, id="old", request_id="r")
        store.taken = 0.9
        await asyncio.sleep(6)
        with pytest.raises(StoreFullError, match=r"'new' was not started: the store is 90% full"):
            await client.start_workflow("Shopping", ORDER, id="new")
        assert await client.backend.state.read("new") is None
        # The same request again, and one that finds its workflow, begin nothing.
        again = await client.start_workflow("Shopping", ORDER, id="old", request_id="r")
        assert again.result_run_id == running.result_run_id
        existing = await client.start_workflow(
            "Shopping", ORDER, id="old", id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING
        )
        assert existing.result_run_id == running.result_run_id
        with pytest.raises(WorkflowAlreadyStartedError):
            await client.start_workflow("Shopping", ORDER, id="old")
        with pytest.raises(StoreFullError):
            await client.start_workflow(
                "Shopping",
                ORDER,
                id="old",
                id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING,
            )
        await running.cancel()
        assert (await running.describe()).id == "old"
        store.taken = 0.5
        await asyncio.sleep(6)
        await client.start_workflow("Shopping", ORDER, id="new")

    with_scheduler(scenario)


def test_a_client_whose_store_refuses_says_so_and_stores_nothing() -> None:
    async def scenario(world: World) -> None:
        world.store.full = True
        for _ in range(2):
            with pytest.raises(StoreFullError, match="full"):
                await world.client.start_workflow("Shopping", ORDER, id="new")
        world.store.full = False
        assert await world.client.backend.state.read("new") is None

    without_scheduler(scenario)


async def published(store: MemoryStore, kind: Any, *tokens: str, body: Any = None) -> int:
    data = b"" if body is None else json.dumps(body).encode()
    return await store.request(kind, tokens, data)


async def eventually(backend: Backend, workflow_id: str) -> None:
    while await backend.state.read(workflow_id) is None:
        await asyncio.sleep(0.5)


def test_starts_wait_in_ingress_and_signals_pass_them() -> None:
    """More starts wait than the door has in hand at a time."""
    starts = 300

    async def scenario(door: Door) -> None:
        store, backend = door.store, door.backend
        assert (await door.ask("start", "Order", "running", body=b"{}"))["ok"]
        await take_up(backend, "running")
        store.taken = 0.9
        await asyncio.sleep(6)
        last = 0
        for n in range(starts):
            await published(store, "start", "Order", f"waits-{n}")
            last = await published(store, "signal", f"waits-{n}", "follows", body=n)
        for n in range(20):
            assert (await door.ask("signal", "running", "news", body=str(n).encode()))["ok"]
        assert len(await identities_of(backend, "running")) == 21
        await asyncio.sleep(1_800)
        assert await backend.state.read("waits-0") is None
        assert await letters_of(backend) == []
        store.taken = 0.5
        for n in range(starts):
            await eventually(backend, f"waits-{n}")
        await drained(door, last)
        for n in range(starts):
            # Each start once, before the signal that followed it.
            assert len(await identities_of(backend, f"waits-{n}")) == 2
            assert (await entry_of(backend, f"waits-{n}"))[0].is_open
        assert await letters_of(backend) == []

    at_the_door(scenario, credit=32)


def test_starts_that_the_store_itself_refuses_wait_too() -> None:
    async def scenario(door: Door) -> None:
        store, backend = door.store, door.backend
        seqs = [await published(store, "start", "Order", f"w-{n}") for n in range(50)]
        store.full = True
        await asyncio.sleep(600)
        store.full = False
        for n in range(len(seqs)):
            await eventually(backend, f"w-{n}")
        await drained(door, seqs[-1])
        assert [len(await identities_of(backend, f"w-{n}")) for n in range(50)] == [1] * 50

    at_the_door(scenario, credit=8)
