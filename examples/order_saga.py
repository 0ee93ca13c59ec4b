"""An order in three steps, each with a step that takes it back: the saga pattern.

Reserve the goods, charge the customer, ship the parcel. When a step fails for good, or somebody
cancels the order, the steps that were done are undone in reverse order, and the workflow ends as
failed (or canceled). Nothing is forgotten when a process dies half-way, since every finished step
is in the log before the next one begins.

Try it (in the directory ``examples``)::

    perdure dev --import order_saga

and in another terminal, from any language that can publish to NATS::

    nats pub perdure.default.start.OrderSagaWorkflow '{"id": "order-1", "input": ["order-1"]}'

or by the command line::

    perdure start OrderSagaWorkflow --id order-2 --input '"order-2"'
    perdure result order-2

The order id decides what goes wrong, so that each failure can be tried: an id that contains
``no-stock`` cannot be reserved, one with ``no-credit`` cannot be charged, and one with
``no-carrier`` cannot be shipped (for instance ``order-no-carrier``). ``flaky`` makes the carrier
fail at the first two attempts only, and the retry policy hides it.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from side_effects import perform

from perdure import activity, workflow
from perdure.exceptions import ApplicationError, is_cancelled_exception


@activity.defn
def reserve_inventory(order_id: str) -> str:
    """Put the goods aside. Gives the reservation's id."""
    _refuse(order_id, "no-stock", "OutOfStock", "the warehouse has no such goods left")
    perform(order_id)
    return f"reservation-{order_id}"


@activity.defn
def release_inventory(reservation_id: str) -> None:
    """Take back :func:`reserve_inventory`."""
    perform(reservation_id)


@activity.defn
def charge_payment(order_id: str) -> str:
    """Charge the customer. Gives the payment's id."""
    _refuse(order_id, "no-credit", "PaymentDeclined", "the card was declined")
    perform(order_id)
    return f"payment-{order_id}"


@activity.defn
def refund_payment(payment_id: str) -> None:
    """Take back :func:`charge_payment`."""
    perform(payment_id)


@activity.defn
def ship_order(order_id: str) -> str:
    """Hand the parcel to the carrier. Gives the tracking number."""
    _refuse(order_id, "no-carrier", "NoCarrier", "no carrier serves this address")
    if "flaky" in order_id and activity.info().attempt < 3:
        # An ordinary exception: it is tried again, as the retry policy says.
        raise ConnectionError("the carrier does not answer")
    perform(order_id)
    return f"TRACK-{order_id.upper()}"


def _refuse(order_id: str, mark: str, kind: str, why: str) -> None:
    if mark in order_id:
        # No attempt can mend this, so none is made.
        raise ApplicationError(f"{order_id}: {why}", type=kind, non_retryable=True)


QUICK = workflow.ActivityConfig(
    start_to_close_timeout=timedelta(seconds=30),
    retry_policy=workflow.RetryPolicy(
        initial_interval=timedelta(milliseconds=200), maximum_attempts=3
    ),
)
# What takes a step back has to succeed some day: it is tried without end, once a minute at most.
STUBBORN = workflow.ActivityConfig(
    start_to_close_timeout=timedelta(seconds=30),
    retry_policy=workflow.RetryPolicy(maximum_interval=timedelta(minutes=1)),
)


@workflow.defn
class OrderSagaWorkflow:
    def __init__(self) -> None:
        self.step = "accepted"
        self.undo: list[tuple[Callable[..., Any], str]] = []

    @workflow.run
    async def run(self, order_id: str) -> str:
        try:
            self.step = "reserving inventory"
            workflow.logger.info("Reserving inventory for %s", order_id)
            reservation = await workflow.execute_activity(reserve_inventory, order_id, **QUICK)
            self.undo.append((release_inventory, reservation))

            self.step = "charging payment"
            workflow.logger.info("Charging payment for %s", order_id)
            payment = await workflow.execute_activity(charge_payment, order_id, **QUICK)
            self.undo.append((refund_payment, payment))

            self.step = "shipping"
            workflow.logger.info("Shipping %s", order_id)
            tracking = await workflow.execute_activity(ship_order, order_id, **QUICK)
        # CancelledError is no Exception in Python: without it, an order that is cancelled between two
        # activities would keep the customer's money.
        except (Exception, asyncio.CancelledError) as error:
            workflow.logger.error("Order %s failed: %s", order_id, error)
            await self.compensate()
            if is_cancelled_exception(error):
                raise
            raise ApplicationError(
                f"Order {order_id} failed and was compensated", type="OrderFailed"
            ) from error
        self.step = "completed"
        return f"Order {order_id} completed. Tracking: {tracking}"

    async def compensate(self) -> None:
        """Undo what was done, the last step first."""
        self.step = "compensating"
        while self.undo:
            step, subject = self.undo[-1]
            await workflow.execute_activity(step, subject, **STUBBORN)
            self.undo.pop()
        self.step = "compensated"

    @workflow.query
    def get_status(self) -> dict[str, Any]:
        """Where the order stands, and what would be undone if it failed now."""
        return {
            "step": self.step,
            "to_undo": [step.__name__ for step, _ in reversed(self.undo)],
        }
