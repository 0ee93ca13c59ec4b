"""The expense approval: three ways to end, and what it says of itself in each phase."""

import asyncio
from typing import TYPE_CHECKING

import expense_approval
import pytest
from support.example_world import example_world

from perdure.testing.virtual_time import run

if TYPE_CHECKING:
    from examples.conftest import Outside

WORKFLOW = "ExpenseApprovalWorkflow"
DAY = 86_400.0
PENDING = {"approved": False, "rejected": False, "pending": True}
APPROVED = {"approved": True, "rejected": False, "pending": False}
REJECTED = {"approved": False, "rejected": True, "pending": False}


@pytest.mark.parametrize(
    ("signal", "result", "status", "last"),
    [
        ("approve", "approved", APPROVED, "process_payment"),
        ("reject", "rejected", REJECTED, "notify_rejection"),
    ],
)
def test_a_decision(
    outside: "Outside", signal: str, result: str, status: dict[str, bool], last: str
) -> None:
    async def main() -> None:
        async with example_world(expense_approval) as w:
            expense = await w.start(WORKFLOW, "exp-1", 42.5)
            await w.nothing_for(3 * DAY)
            assert await w.ask(expense, "get_status") == PENDING
            sequence = await w.signal(expense, signal)
            assert await w.ask(expense, "get_status", after=sequence) == status
            assert await w.result(expense) == result
            assert await w.ask(expense, "get_status") == status

    run(main())
    assert outside.done == [("notify_manager", "exp-1 (42.50)"), (last, "exp-1")]


def test_no_decision_in_seven_days(outside: "Outside") -> None:
    async def main() -> None:
        async with example_world(expense_approval) as w:
            loop = asyncio.get_running_loop()
            expense = await w.start(WORKFLOW, "exp-2", 7.0)
            await w.nothing_for(7 * DAY - 60)
            assert await w.ask(expense, "get_status") == PENDING
            assert outside.names == ["notify_manager"]
            assert await w.result(expense) == "timeout"
            assert loop.time() >= 7 * DAY
            assert await w.ask(expense, "get_status") == PENDING

    run(main())
    assert outside.names == ["notify_manager", "notify_timeout"]


def test_the_first_decision_stands(outside: "Outside") -> None:
    async def main() -> None:
        async with example_world(expense_approval) as w:
            expense = await w.start(WORKFLOW, "exp-3", 7.0)
            await w.signal(expense, "reject")
            await w.signal(expense, "approve")
            assert await w.result(expense) == "rejected"

    run(main())
    assert outside.names == ["notify_manager", "notify_rejection"]


def test_a_decision_outlives_everybody(outside: "Outside") -> None:
    async def main() -> None:
        async with example_world(expense_approval) as w:
            expense = await w.start(WORKFLOW, "exp-4", 7.0)
            await asyncio.sleep(30)
            await w.switch_off()
            await w.signal(expense, "approve")
            await asyncio.sleep(60)
            await w.switch_on()
            assert await w.result(expense) == "approved"

    run(main())
    assert outside.names == ["notify_manager", "process_payment"]
