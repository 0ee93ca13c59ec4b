"""Runs whose code costs processes: strikes in STATE, quarantine at the third, ways out of it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from support.world import World, world

from perdure import activity, workflow
from perdure.authoring.app import App
from perdure.client import Client, WorkflowQueryFailedError
from perdure.core.durations import MINUTE
from perdure.core.state import StateEntry, Status
from perdure.engine.scheduler.strikes import LIMIT, Struck, record, release
from perdure.testing.virtual_time import run

REASON = "a turn of its code took longer than 1.5 s"


@activity.defn
async def note(text: str) -> str:
    return text


@workflow.defn
class Clerk:
    """Takes letters until it has three."""

    def __init__(self) -> None:
        self.letters: list[str] = []

    @workflow.run
    async def run(self) -> list[str]:
        first = await workflow.execute_activity(
            note, "begun", start_to_close_timeout=timedelta(seconds=10)
        )
        await workflow.wait_condition(lambda: len(self.letters) >= 3)
        return [first, *self.letters]

    @workflow.signal
    def post(self, letter: str) -> None:
        self.letters.append(letter)

    @workflow.query
    def count(self) -> int:
        return len(self.letters)


@workflow.defn(name="Clerk")
class PatchedClerk(Clerk):
    @workflow.run
    async def run(self) -> list[str]:
        return [*await super().run(), "patched"]


@workflow.defn
class Recursive:
    @workflow.run
    async def run(self) -> int:
        return self.deeper(0)

    def deeper(self, depth: int) -> int:
        return self.deeper(depth + 1) + 1


OLD = App(workflows=[Clerk], activities=[note])
NEW = App(workflows=[PatchedClerk], activities=[note])


@asynccontextmanager
async def office() -> AsyncGenerator[World]:
    async with world([Clerk], [note], serve=False) as w:
        await w.add_worker()
        yield w


async def stop(w: World, name: str) -> None:
    task = w.schedulers.pop(name)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def entry_of(w: World, workflow_id: str) -> StateEntry:
    entry = await w.entry(workflow_id)
    assert entry is not None
    return entry


async def strike(
    w: World, workflow_id: str, *ats: int, build: str = "old", stack: str = "File somewhere"
) -> StateEntry:
    """What the process does that comes in the place of one that was given up."""
    entry = await entry_of(w, workflow_id)
    for at in ats:
        struck = Struck(
            workflow_id=workflow_id, run=entry.run, at=at, reason=REASON, stack=f"{stack} {at}"
        )
        recorded = await record(w.client, struck, build=build)
        assert recorded is not None
    return await entry_of(w, workflow_id)


async def quarantined(w: World) -> str:
    """A run with a history that three processes of the build ``old`` were given up for."""
    await w.add_scheduler("old", app=OLD, build="old")
    clerk = await w.start("Clerk")
    await w.signal(clerk, "post", "before")
    await asyncio.sleep(3)
    await stop(w, "old")
    await strike(w, clerk, 1, 2, 3)
    return clerk


def test_three_strikes_quarantine_the_run_and_say_why() -> None:
    async def main() -> None:
        async with office() as w:
            await w.add_scheduler("old", app=OLD, build="old")
            clerk = await w.start("Clerk")
            await asyncio.sleep(3)
            await stop(w, "old")
            first = await strike(w, clerk, 1)
            assert (first.blocked, len(first.strikes)) == ("", 1)
            second = await strike(w, clerk, 2)
            assert second.blocked == ""
            third = await strike(w, clerk, 3)
            assert len(third.strikes) == LIMIT
            assert third.status is Status.RUNNING
            assert third.blocked.startswith(f"quarantined after 3 strikes: {REASON}")
            assert third.blocked_build == "old"
            assert [one.stack for one in third.strikes] == ["", "", "File somewhere 3"]

    run(main())


def test_a_strike_that_is_recorded_again_counts_once() -> None:
    async def main() -> None:
        async with office() as w:
            clerk = await w.start("Clerk")
            entry = await strike(w, clerk, 1, 1, 2, 2, 1)
            assert [one.at for one in entry.strikes] == [1, 2]

    run(main())


def test_a_quarantined_run_takes_events_and_another_build_goes_on() -> None:
    async def main() -> None:
        async with office() as w:
            clerk = await quarantined(w)
            await w.add_scheduler("old", app=OLD, build="old")
            await w.signal(clerk, "post", "meanwhile")
            await asyncio.sleep(30)
            assert w.scheduler_objects["old"].cached == 0
            assert (await entry_of(w, clerk)).blocked.startswith("quarantined")
            # Kept for whoever goes on, and taken from the inbox.
            assert all(lane.is_idle for lane in w.scheduler_objects["old"]._lanes.values())
            await stop(w, "old")
            await w.add_scheduler("new", app=NEW, build="new")
            await w.signal(clerk, "post", "after")
            found = await w.result(clerk, timeout=120)
            assert found == ["begun", "before", "meanwhile", "after", "patched"]
            closed = await entry_of(w, clerk)
            assert (closed.blocked, closed.strikes) == ("", [])

    run(main())


def test_the_same_build_tries_again_once_released() -> None:
    async def main() -> None:
        async with office() as w:
            clerk = await quarantined(w)
            await w.add_scheduler("old", app=OLD, build="old")
            await w.signal(clerk, "post", "meanwhile")
            await asyncio.sleep(30)
            released = await release(w.client, clerk)
            assert released is not None
            assert released.strikes == []
            # The next event wakes it, in its order.
            await w.signal(clerk, "post", "after")
            assert await w.result(clerk, timeout=120) == ["begun", "before", "meanwhile", "after"]

    run(main())


def test_a_release_while_nobody_serves_is_seen_by_who_comes() -> None:
    async def main() -> None:
        async with office() as w:
            clerk = await quarantined(w)
            await w.signal(clerk, "post", "meanwhile")
            await w.signal(clerk, "post", "too")
            await release(w.client, clerk)
            await w.add_scheduler("old", app=OLD, build="old")
            assert await w.result(clerk, timeout=120) == ["begun", "before", "meanwhile", "too"]

    run(main())


def test_poison_from_the_first_turn_on_is_quarantined_without_a_history() -> None:
    async def main() -> None:
        async with office() as w:
            clerk = await w.start("Clerk")
            await strike(w, clerk, 1, 2, 3)
            await w.add_scheduler("old", app=OLD, build="old")
            await asyncio.sleep(30)
            for letter in ("a", "b", "c"):
                await w.signal(clerk, "post", letter)
            await asyncio.sleep(30)
            entry = await entry_of(w, clerk)
            assert entry.is_open
            assert w.scheduler_objects["old"].cached == 0
            await stop(w, "old")
            await w.add_scheduler("new", app=NEW, build="new")
            assert await w.result(clerk, timeout=120) == ["begun", "a", "b", "c", "patched"]

    run(main())


def test_a_quarantined_run_can_be_terminated() -> None:
    async def main() -> None:
        async with office() as w:
            clerk = await quarantined(w)
            await w.add_scheduler("old", app=OLD, build="old")
            await w.terminate(clerk, "enough")
            entry = await w.closed(clerk, timeout=60)
            assert entry.status is Status.TERMINATED
            assert (entry.blocked, entry.strikes) == ("", [])

    run(main())


def test_strikes_count_for_one_build() -> None:
    async def main() -> None:
        async with office() as w:
            clerk = await w.start("Clerk")
            await strike(w, clerk, 1, 2)
            entry = await strike(w, clerk, 3, build="new")
            assert (entry.blocked, [one.at for one in entry.strikes]) == ("", [3])

    run(main())


@pytest.mark.parametrize(
    ("later", "progress", "counted"),
    [(11 * MINUTE, True, 1), (11 * MINUTE, False, 3), (9 * MINUTE, True, 3)],
)
def test_strikes_fade_with_time_and_progress(later: int, progress: bool, counted: int) -> None:
    async def main() -> None:
        async with office() as w:
            await w.add_scheduler("old", app=OLD, build="old")
            clerk = await w.start("Clerk")
            await asyncio.sleep(3)
            await stop(w, "old")
            await strike(w, clerk, 1, 2)
            if progress:
                await w.add_scheduler("old", app=OLD, build="old")
                await w.signal(clerk, "post", "a")
                await asyncio.sleep(3)
                await stop(w, "old")
            assert len((await strike(w, clerk, later)).strikes) == counted

    run(main())


def test_the_late_mark_of_a_start_leaves_strikes_standing() -> None:
    async def main() -> None:
        async with office() as w:
            await w.add_scheduler("old", app=OLD, build="old")
            clerk = await w.start("Clerk")
            await asyncio.sleep(0.3)
            assert (await entry_of(w, clerk)).starting is not None
            await strike(w, clerk, 1, 2)
            await asyncio.sleep(5)
            entry = await entry_of(w, clerk)
            assert entry.starting is None
            assert [one.at for one in entry.strikes] == [1, 2]

    run(main())


@pytest.mark.parametrize(("age", "waits"), [(0, True), (11 * MINUTE, False)])
def test_a_run_with_strikes_lets_others_go_first(age: int, waits: bool) -> None:
    async def main() -> None:
        async with office() as w:
            await w.add_scheduler("old", app=OLD, build="old")
            suspect, other = await w.start("Clerk"), await w.start("Clerk")
            await asyncio.sleep(3)
            await stop(w, "old")
            now = w.client.clock.now()
            await strike(w, suspect, now - age, now - age + 1)
            for letter in ("a", "b", "c"):
                await w.signal(suspect, "post", letter)
                await w.signal(other, "post", letter)
            await w.add_scheduler("old", app=OLD, build="old")
            await w.result(other, timeout=1)
            await asyncio.sleep(0.5)
            entry = await entry_of(w, suspect)
            assert entry.is_open is waits
            assert await w.result(suspect, timeout=10) == ["begun", "a", "b", "c"]

    run(main())


@pytest.mark.parametrize("what", ["closed", "of another run", "unknown"])
def test_a_strike_of_a_run_that_is_over_is_dropped(what: str) -> None:
    async def main() -> None:
        async with office() as w:
            clerk = await quarantined(w) if what == "of another run" else await w.start("Clerk")
            entry = await entry_of(w, clerk)
            if what == "closed":
                await w.add_scheduler("old", app=OLD, build="old")
                await w.terminate(clerk)
                await w.closed(clerk, timeout=60)
            struck = Struck(
                workflow_id="nobody" if what == "unknown" else clerk,
                run="another" if what == "of another run" else entry.run,
                at=9,
                reason=REASON,
            )
            assert await record(w.client, struck, build="old") is None

    run(main())


def test_endless_recursion_fails_the_workflow_and_strikes_nobody() -> None:
    """Python finds it by itself: it is an exception like any other (D-16)."""

    async def main() -> None:
        async with world([Recursive], []) as w:
            recursive = await w.start("Recursive")
            entry = await w.closed(recursive, timeout=60)
            assert entry.status is Status.FAILED
            assert entry.failure is not None
            assert entry.failure.type == "RecursionError"
            assert entry.strikes == []

    run(main())


def test_a_closed_run_that_costs_processes_answers_no_queries() -> None:
    async def main() -> None:
        async with office() as w:
            await w.add_scheduler("old", app=OLD, build="old")
            clerk = await w.start("Clerk")
            for letter in ("a", "b", "c"):
                await w.signal(clerk, "post", letter)
            await w.result(clerk, timeout=60)
            client = Client.from_backend(w.client)
            assert await client.get_workflow_handle(clerk).query("count") == 3
            await stop(w, "old")
            refused = frozenset({(await entry_of(w, clerk)).run})
            await w.add_scheduler("old", app=OLD, build="old", refused=refused)
            with pytest.raises(WorkflowQueryFailedError, match="again and again"):
                await client.get_workflow_handle(clerk).query("count")

    run(main())


class Marks:
    """A TurnWatch that remembers."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def begun(self, workflow_id: str, run: str) -> None:
        self.said.append((workflow_id, run))

    def ended(self) -> None:
        self.said.append(None)


def test_a_watch_sees_every_activation_begin_and_end() -> None:
    async def main() -> None:
        async with office() as w:
            marks = Marks()
            await w.add_scheduler("old", app=OLD, build="old", watch=marks)
            clerk = await w.start("Clerk")
            await w.signal(clerk, "post", "a")
            await asyncio.sleep(3)
            name = (clerk, (await entry_of(w, clerk)).run)
            assert marks.said[::2] == [name] * (len(marks.said) // 2)
            assert set(marks.said[1::2]) == {None}
            assert len(marks.said) // 2 == 3

            marks.said.clear()
            await stop(w, "old")
            assert marks.said == [name, None]

            # A replay is as many activations as there are events, however long the history.
            marks.said.clear()
            await w.add_scheduler("again", app=OLD, build="old", watch=marks)
            await w.signal(clerk, "post", "b")
            await asyncio.sleep(15)
            assert marks.said == [name, None] * 4

    run(main())
