"""The third of three scripts: approve an expense, handing it in first if nobody has.

See ``run_worker.py`` for how to run all three.
"""

import asyncio
import sys

from expense_approval import ExpenseApprovalWorkflow

from perdure.common import WorkflowIDConflictPolicy
from scripts.connection import connect


async def main(expense_id: str) -> None:
    async with await connect() as client:
        await client.start_workflow(
            ExpenseApprovalWorkflow.run,
            args=[expense_id, 42.5],
            id=expense_id,
            task_queue="default",
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        # Another program knows only the id; that is all that it needs.
        handle = client.get_workflow_handle_for(ExpenseApprovalWorkflow.run, expense_id)
        print(f"Before: {await handle.query(ExpenseApprovalWorkflow.get_status)}")
        await handle.signal(ExpenseApprovalWorkflow.approve)
        print(f"Approved workflow {expense_id}")
        print(f"Result: {await handle.result()}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "exp-1"))
