"""The second of three scripts: start an order, look at it, wait for its result.

See ``run_worker.py`` for how to run all three.
"""

import asyncio
import sys

from order_saga import OrderSagaWorkflow

from perdure.client import WorkflowFailureError
from scripts.connection import connect


async def main(order_id: str) -> int:
    async with await connect() as client:
        handle = await client.start_workflow(
            OrderSagaWorkflow.run,
            order_id,
            id=f"order-saga-{order_id}",
            task_queue="default",
        )
        print(f"Started workflow: {handle.id}")

        status = await handle.query(OrderSagaWorkflow.get_status)
        print(f"Status: {status}")
        try:
            print(f"Result: {await handle.result()}")
        except WorkflowFailureError as error:
            print(f"Failed: {error.cause}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "order-1")))
