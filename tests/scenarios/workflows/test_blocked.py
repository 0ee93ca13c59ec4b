"""Runs that a build cannot go on with: blocked, told, and alive again with fitting code."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from support.world import World, world

from perdure import activity, workflow
from perdure.authoring.app import App
from perdure.core.state import Status
from perdure.testing.virtual_time import run

SHORT = timedelta(seconds=10)


@activity.defn
async def first() -> str:
    return "first"


@activity.defn
async def second() -> str:
    return "second"


class _Base:
    def __init__(self) -> None:
        self.go = False
        self.letters: list[str] = []


@workflow.defn(name="Journey")
class Journey(_Base):
    @workflow.run
    async def run(self) -> list[str]:
        one = await workflow.execute_activity(first, start_to_close_timeout=SHORT)
        await workflow.wait_condition(lambda: self.go)
        two = await workflow.execute_activity(second, start_to_close_timeout=SHORT)
        return [one, two, *self.letters]

    @workflow.signal
    def leave(self) -> None:
        self.go = True

    @workflow.signal
    def post(self, letter: str) -> None:
        self.letters.append(letter)


@workflow.defn(name="Journey")
class Detour(_Base):
    @workflow.run
    async def run(self) -> list[str]:
        two = await workflow.execute_activity(second, start_to_close_timeout=SHORT)
        await workflow.wait_condition(lambda: self.go)
        return [two]

    @workflow.signal
    def leave(self) -> None:
        self.go = True


def app_of(*workflows: Any) -> App:
    return App(workflows=list(workflows), activities=[first, second])


async def replace_scheduler(w: World, app: App, build: str) -> None:
    for task in w.schedulers.values():
        task.cancel()
    await asyncio.gather(*w.schedulers.values(), return_exceptions=True)
    w.schedulers.clear()
    await w.add_scheduler(f"s-{build}", app=app, build=build)


async def until_blocked(w: World, workflow_id: str) -> str:
    async with asyncio.timeout(60):
        while True:
            entry = await w.entry(workflow_id)
            if entry is not None and entry.blocked:
                return entry.blocked
            await asyncio.sleep(0.1)


def test_changed_code_blocks_the_run_and_the_old_code_ends_it() -> None:
    async def main() -> None:
        async with world([Journey], [first, second], build="old") as w:
            journey = await w.start("Journey")
            await asyncio.sleep(2)
            await replace_scheduler(w, app_of(Detour), "new")
            await w.signal(journey, "leave")
            reason = await until_blocked(w, journey)
            assert "schedule_activity 1: first" in reason
            assert "schedule_activity 1: second" in reason
            await w.signal(journey, "post", "while blocked")
            await asyncio.sleep(5)
            entry = await w.entry(journey)
            assert entry is not None
            assert entry.status is Status.RUNNING
            await replace_scheduler(w, app_of(Journey), "old")
            assert await w.result(journey, timeout=120) == ["first", "second", "while blocked"]
            assert (await w.closed(journey)).blocked == ""

    run(main())


def test_an_unknown_type_waits_for_its_code() -> None:
    async def main() -> None:
        async with world([Journey], [first, second]) as w:
            stray = await w.start("Jorney")
            reason = await until_blocked(w, stray)
            assert "'Jorney'" in reason
            assert "nearest: Journey" in reason

    run(main())


@workflow.defn(name="Jorney")
class Late(_Base):
    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: self.go)
        return "late"

    @workflow.signal
    def leave(self) -> None:
        self.go = True


def test_code_that_comes_later_takes_the_start_and_its_signals() -> None:
    async def main() -> None:
        async with world([Journey], [first, second]) as w:
            stray = await w.start("Jorney")
            await until_blocked(w, stray)
            await w.signal(stray, "leave")
            await asyncio.sleep(5)
            await replace_scheduler(w, app_of(Journey, Late), "with-late")
            assert await w.result(stray, timeout=120) == "late"

    run(main())


@pytest.mark.parametrize("kind", ["unknown", "changed"])
def test_a_blocked_run_can_be_terminated(kind: str) -> None:
    async def main() -> None:
        async with world([Journey], [first, second], build="old") as w:
            stuck = await w.start("Jorney" if kind == "unknown" else "Journey")
            await asyncio.sleep(2)
            if kind == "changed":
                await replace_scheduler(w, app_of(Detour), "new")
                await w.signal(stuck, "leave")
            await until_blocked(w, stuck)
            await w.terminate(stuck, "enough")
            entry = await w.closed(stuck, timeout=60)
            assert entry.status is Status.TERMINATED
            assert entry.failure is not None
            assert entry.failure.message == "enough"
            history = await w.history(stuck)
            assert history.closing is not None

    run(main())


def test_an_id_freed_by_termination_starts_anew() -> None:
    async def main() -> None:
        async with world([Journey], [first, second]) as w:
            await w.start("Jorney", id="same")
            await until_blocked(w, "same")
            await w.terminate("same")
            await w.closed("same", timeout=60)
            await w.start("Journey", id="same")
            await w.signal("same", "leave")
            assert await w.result("same", timeout=60) == ["first", "second"]

    run(main())
