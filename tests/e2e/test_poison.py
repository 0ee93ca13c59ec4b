"""Workflow code that never returns, recurses without end, eats memory or ends its process: found from
outside, and only its own run is stopped for it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.deployments import ROOT, Process
from support.polling import until_found
from support.systems import System, system

from perdure.client import WorkflowFailureError, WorkflowHandle
from perdure.core.state import StateEntry, Strike, decode_state
from perdure.engine.scheduler.strikes import LIMIT
from perdure_services._shell.usage import machine_memory

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio, pytest.mark.timeout(300)]

LONGER = "a turn of its code took longer than 0.5 s"
_GIB = 1 << 30


@asynccontextmanager
async def poisonable(folder: Path) -> AsyncGenerator[System]:
    async with system(folder, imports="support.poisons") as here:
        yield here


async def scheduler(here: System, name: str = "scheduler", **environment: str) -> Process:
    """Half a second of processor time is for ever: a sound turn takes milliseconds of it."""
    environment = {"PERDURE_TURN_TIMEOUT": "0.5s", **environment}
    return await here.deployed.start("scheduler", name, **environment)


async def entry_of(here: System, workflow_id: str) -> StateEntry:
    found = await here.client.backend.state.read(workflow_id)
    assert found is not None
    return decode_state(found[0])


async def struck(here: System, workflow_id: str, times: int = 1) -> StateEntry:
    """The entry with so many strikes, without anybody who asks the scheduler for it."""

    async def look() -> StateEntry | None:
        entry = await entry_of(here, workflow_id)
        return entry if len(entry.strikes) >= times else None

    return await until_found(look, f"strike {times} of {workflow_id}", seconds=100)


async def first_strike(here: System, poison: str, **environment: str) -> Strike:
    """What a run is struck for that is poison from its first turn on."""
    await scheduler(here, **environment)
    await here.client.start_workflow("Stillborn", poison, id="stillborn")
    return (await struck(here, "stillborn")).strikes[0]


async def cli(here: System, *arguments: str) -> tuple[int, str]:
    """The ``perdure`` command: its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "perdure_services.cli", *arguments, "-s", here.server.url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200"},
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def fed(here: System, workflow_id: str, poison: str) -> WorkflowHandle[Any, Any]:
    """A run with a history that has just taken poison."""
    handle = await here.client.start_workflow("Victim", id=workflow_id)
    await until_found(lambda: has_begun(handle), "the run's first activity")
    await handle.signal("post", "before")
    await handle.signal("take", poison)
    return handle


async def has_begun(handle: WorkflowHandle[Any, Any]) -> bool | None:
    rows = (await handle.fetch_history()).events
    return any(row["type"] == "activity_completed" for row in rows) or None


def children_of(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def test_a_turn_that_never_ends_stops_only_its_own_run(tmp_path: Path) -> None:
    antidote = tmp_path / "antidote"
    async with poisonable(tmp_path) as here:
        process = await scheduler(here, PERDURE_TEST_ANTIDOTE=str(antidote))
        await here.deployed.start("worker")
        pid = process.pid
        tickers = [
            await here.client.start_workflow("Ticker", 5, id=f"ticker-{n}") for n in range(3)
        ]
        victim = await fed(here, "victim", "never_return")

        first = await struck(here, "victim")
        assert (first.strikes[0].reason, first.blocked) == (LONGER, "")
        # Sound runs go on, and new ones begin, between the strikes.
        assert [await ticker.result(60) for ticker in tickers] == [5, 5, 5]
        assert await here.client.execute_workflow("Ticker", 1, id="ticker-new") == 1

        await struck(here, "victim", LIMIT)
        description = await victim.describe()
        assert description.status.name == "RUNNING"
        assert description.blocked.startswith(f"quarantined after 3 strikes: {LONGER}")
        assert "in never_return" in description.strikes[-1].stack
        assert "in take" in description.strikes[-1].stack
        code, shown = await cli(here, "describe", "victim")
        assert code == 0, shown
        for part in ("quarantined after 3 strikes", "in never_return", "perdure release victim"):
            assert part in shown, shown

        # It goes on taking events, and costs nobody any more.
        await victim.signal("post", "meanwhile")
        assert await here.client.execute_workflow("Ticker", 1, id="ticker-after") == 1
        assert len((await entry_of(here, "victim")).strikes) == LIMIT
        assert (process.pid, process.alive) == (pid, True)

        antidote.touch()
        code, said = await cli(here, "release", "victim")
        assert (code, said) == (0, "victim: released\n")
        await victim.signal("finish")
        assert await victim.result(60) == ["begun", "before", "meanwhile"]
        code, said = await cli(here, "release", "victim")
        assert code == 2, said

        process.terminate()
        assert await process.ended() == 0


@pytest.mark.slow
async def test_another_build_goes_on_with_a_quarantined_run(tmp_path: Path) -> None:
    antidote = tmp_path / "antidote"
    async with poisonable(tmp_path) as here:
        old = await scheduler(here, "old", PERDURE_BUILD_ID="old")
        await here.deployed.start("worker")
        victim = await fed(here, "victim", "leave")
        await struck(here, "victim", LIMIT)
        await victim.signal("post", "meanwhile")
        old.kill()
        # The same build, in another process: it knows better than to try.
        again = await scheduler(here, "again", PERDURE_BUILD_ID="old")
        assert (await victim.describe()).blocked.startswith("quarantined")
        assert len((await entry_of(here, "victim")).strikes) == LIMIT
        again.kill()

        antidote.touch()
        environment = {"PERDURE_BUILD_ID": "new", "PERDURE_TEST_ANTIDOTE": str(antidote)}
        await scheduler(here, "new", **environment)
        await victim.signal("finish")
        assert await victim.result(60) == ["begun", "before", "meanwhile"]
        assert (await victim.describe()).blocked == ""


@pytest.mark.parametrize(
    ("poison", "reason"),
    [
        ("make_a_number", LONGER),
        pytest.param("match_for_ever", LONGER, marks=pytest.mark.slow),
        pytest.param("sleep_in_the_system", LONGER, marks=pytest.mark.slow),
    ],
)
async def test_its_stack_tells_where_it_was(tmp_path: Path, poison: str, reason: str) -> None:
    async with poisonable(tmp_path) as here:
        strike = await first_strike(here, poison)
        assert strike.reason == reason
        assert f"in {poison}" in strike.stack
        assert "in run" in strike.stack


async def test_a_stack_that_overflows_in_c_code_is_a_strike(tmp_path: Path) -> None:
    async with poisonable(tmp_path) as here:
        strike = await first_strike(here, "recurse_in_c", PERDURE_TURN_TIMEOUT="0")
        assert strike.reason == "a turn of its code ended the process of SIGSEGV"
        assert "in recurse_in_c" in strike.stack


@pytest.mark.slow
async def test_a_turn_that_ends_the_process_is_a_strike(tmp_path: Path) -> None:
    async with poisonable(tmp_path) as here:
        strike = await first_strike(here, "leave")
        assert strike.reason == "a turn of its code ended the process with exit code 3"


async def test_recursion_that_python_finds_fails_the_workflow(tmp_path: Path) -> None:
    async with poisonable(tmp_path) as here:
        await scheduler(here)
        handle = await here.client.start_workflow("Stillborn", "recurse", id="recursive")
        with pytest.raises(WorkflowFailureError) as failed:
            await handle.result(60)
        assert "maximum recursion depth exceeded" in str(failed.value.__cause__)
        assert (await entry_of(here, "recursive")).strikes == []


async def test_a_turn_that_eats_memory_is_stopped(tmp_path: Path) -> None:
    async with poisonable(tmp_path) as here:
        environment = {
            "PERDURE_TURN_TIMEOUT": "0",
            "PERDURE_MEMORY_LIMIT": "100MB",
            "PERDURE_TEST_MEAL": "400",
        }
        strike = await first_strike(here, "eat", **environment)
        assert strike.reason == "a turn of its code took more than 95.4 MiB of memory"
        # Either it still eats, or it is full and goes on for ever.
        assert "in eat" in strike.stack


@pytest.mark.slow
@pytest.mark.parametrize("poison", ["eat", "recurse_unbounded"])
async def test_five_gigabytes_in_a_turn_are_too_many(tmp_path: Path, poison: str) -> None:
    if machine_memory() < 6 * _GIB:
        pytest.skip("this machine has less than 6 GiB of memory")
    async with poisonable(tmp_path) as here:
        environment = {"PERDURE_TURN_TIMEOUT": "0", "PERDURE_TEST_MEAL": "5000"}
        strike = await first_strike(here, poison, **environment)
        assert strike.reason.startswith("a turn of its code took more than ")
        assert "of memory" in strike.reason


@pytest.mark.slow
async def test_a_query_that_never_ends_strikes_its_run(tmp_path: Path) -> None:
    async with poisonable(tmp_path) as here:
        await scheduler(here)
        await here.deployed.start("worker")
        victim = await here.client.start_workflow("Victim", id="victim")
        await until_found(lambda: has_begun(victim), "the run's first activity")
        asking = asyncio.create_task(victim.query("ask", "never_return"))
        entry = await struck(here, "victim")
        assert "in ask" in entry.strikes[-1].stack
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert await here.client.execute_workflow("Ticker", 1, id="ticker") == 1


@pytest.mark.slow
async def test_a_killed_child_is_replaced_under_the_same_name(tmp_path: Path) -> None:
    """What a kernel short of memory does, at a moment when no code runs."""
    async with poisonable(tmp_path) as here:
        process = await scheduler(here)
        await here.deployed.start("worker")
        victim = await fed(here, "victim", "recurse")
        with pytest.raises(WorkflowFailureError):
            await victim.result(60)
        (child,) = children_of(process.pid)
        os.kill(child, signal.SIGKILL)
        await process.says("another one takes its place")
        assert await here.client.execute_workflow("Ticker", 1, id="ticker") == 1
        members = await here.client.backend.members.list(("scheduler", "default"))
        assert list(members) == ["scheduler"]
