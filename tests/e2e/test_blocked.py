"""Changed workflow code under running workflows: blocked, said where, and freed by the old code."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.polling import until_found
from support.systems import system
from support.watching import history_when, types

from perdure.client import WorkflowExecutionDescription

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio, pytest.mark.timeout(300)]


async def test_code_in_another_order_blocks_the_run_until_the_old_code_is_back(
    tmp_path: Path,
) -> None:
    async with system(tmp_path) as here:
        old = await here.deployed.start("scheduler", "old")
        await here.deployed.start("worker")
        handle = await here.client.start_workflow("Journey", "plain", id="journey")
        await history_when(here.client, "journey", lambda rows: "timer_fired" in types(rows))
        old.kill()

        turned = await here.deployed.start(
            "scheduler", "turned", PERDURE_IMPORT="support.journeys_turned"
        )
        await handle.signal("approve", "anna")

        async def blocked() -> WorkflowExecutionDescription | None:
            description = await handle.describe()
            return description if description.blocked else None

        description = await until_found(blocked, "the block")
        assert description.status.name == "RUNNING"
        # Which event, what was recorded, what the code did instead.
        for part in ("event", "schedule_activity 1: step", "schedule_activity 1: flaky"):
            assert part in description.blocked, description.blocked
        # It goes on taking events, and others go on.
        await handle.signal("approve", "bob")
        assert await here.client.execute_workflow("Later", id="later") == "later"
        rows = (await handle.fetch_history()).events
        assert "workflow_signaled" not in types(rows)
        turned.terminate()
        assert await turned.ended() == 0

        await here.deployed.start("scheduler", "old-again")
        assert await handle.result(60) == ["book", "pack", "anna", "leave"]
        assert (await handle.describe()).blocked == ""
        effects = ["book 1", "pack 1", "pack 2", "pack 3", "leave 1"]
        assert here.deployed.effects() == [f"journey {line}" for line in effects]


@pytest.mark.slow
async def test_a_killed_scheduler_forgets_no_block(tmp_path: Path) -> None:
    async with system(tmp_path) as here:
        old = await here.deployed.start("scheduler", "old")
        await here.deployed.start("worker")
        handle = await here.client.start_workflow("Approval", id="approval")
        await history_when(here.client, "approval", lambda rows: bool(rows))
        old.kill()
        # The new code has no such workflow at all.
        turned = await here.deployed.start(
            "scheduler", "turned", PERDURE_IMPORT="support.journeys_turned"
        )
        await handle.signal("approve", "anna")

        async def blocked() -> WorkflowExecutionDescription | None:
            description = await handle.describe()
            return description if "Approval" in description.blocked else None

        await until_found(blocked, "the block")
        turned.kill()
        await here.deployed.start("scheduler", "old-again")
        assert await handle.result(60) == "anna"
