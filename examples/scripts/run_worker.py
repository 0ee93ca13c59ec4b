"""The first of three scripts: a worker that runs the order saga and the expense approval.

In the directory ``examples``, each in a terminal of its own::

    perdure dev                        # without code: a NATS server, and the durable front door
    python -m scripts.run_worker
    python -m scripts.start_order order-1
    python -m scripts.approve_expense exp-1

``NATS_URL`` says where the server is (``nats://127.0.0.1:4222`` when unset), ``PERDURE_NAMESPACE``
which namespace on it.
"""

import asyncio
import logging

import expense_approval
import order_saga

from perdure.worker import Worker
from scripts.connection import connect


async def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    async with await connect() as client:
        worker = Worker(
            client,
            task_queue="default",
            workflows=[order_saga.OrderSagaWorkflow, expense_approval.ExpenseApprovalWorkflow],
            activities=[
                order_saga.reserve_inventory,
                order_saga.release_inventory,
                order_saga.charge_payment,
                order_saga.refund_payment,
                order_saga.ship_order,
                expense_approval.notify_manager,
                expense_approval.process_payment,
                expense_approval.notify_rejection,
                expense_approval.notify_timeout,
            ],
        )
        print("The worker runs; Ctrl-C ends it.", flush=True)
        await worker.run()


if __name__ == "__main__":
    asyncio.run(main())
