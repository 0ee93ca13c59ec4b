"""Workflows in the shapes that the class style was specified with; placeholder activities."""

import asyncio
from datetime import timedelta
from typing import Any

from perdure import activity, workflow


@activity.defn
async def send_mail(address: str, subject: str, body: str) -> str:
    return "sent"


@activity.defn
async def reserve(order_id: str) -> str:
    return f"reservation of {order_id}"


@activity.defn
async def release(reservation_id: str) -> None: ...


@activity.defn
async def charge(order_id: str) -> str:
    return f"payment of {order_id}"


@activity.defn
async def refund(payment_id: str) -> None: ...


@activity.defn
async def ship(order_id: str) -> str:
    return f"tracking of {order_id}"


@activity.defn
def notify(expense_id: str, amount: float) -> None: ...


@activity.defn
async def ask_model(prompt: str, model: str = "small") -> str:
    return prompt


@activity.defn
async def process_item(item: str) -> str:
    return item.upper()


@workflow.defn
class Onboarding:
    @workflow.run
    async def run(self, user_id: str) -> str:
        await workflow.execute_activity(
            send_mail,
            args=["user@example.com", "Welcome!", "..."],
            start_to_close_timeout=timedelta(seconds=30),
            retry_policy=workflow.RetryPolicy(maximum_attempts=3, backoff_coefficient=2.0),
        )
        await workflow.async_sleep(timedelta(days=3))
        await workflow.execute_activity(
            send_mail,
            args=["user@example.com", "How is it going?", "..."],
            start_to_close_timeout=timedelta(seconds=30),
        )
        return f"Onboarding complete for {user_id}"


@workflow.defn
class OrderSaga:
    @workflow.run
    async def run(self, order_id: str) -> str:
        reservation_id: str | None = None
        payment_id: str | None = None
        once = workflow.ActivityConfig(
            start_to_close_timeout=timedelta(seconds=10),
            retry_policy=workflow.RetryPolicy(maximum_attempts=3),
        )
        try:
            workflow.logger.info(f"Reserving for {order_id}")
            reservation_id = await workflow.execute_activity(reserve, order_id, **once)
            payment_id = await workflow.execute_activity(charge, order_id, **once)
            tracking = await workflow.execute_activity(ship, order_id, **once)
            return f"Order {order_id} completed. Tracking: {tracking}"
        except Exception as error:
            workflow.logger.error(f"Order {order_id} failed: {error}")
            if payment_id:
                await workflow.execute_activity(refund, payment_id, **once)
            if reservation_id:
                await workflow.execute_activity(release, reservation_id, **once)
            raise Exception(f"Order {order_id} failed and was compensated") from error


@workflow.defn
class ExpenseApproval:
    def __init__(self) -> None:
        self.approved = False
        self.rejected = False

    @workflow.run
    async def run(self, expense_id: str, amount: float) -> str:
        await workflow.execute_activity(
            notify, args=[expense_id, amount], start_to_close_timeout=timedelta(seconds=10)
        )
        decided = await workflow.wait_condition(
            lambda: self.approved or self.rejected, timeout=timedelta(days=7)
        )
        if not decided:
            return "timeout"
        return "approved" if self.approved else "rejected"

    @workflow.signal
    def approve(self) -> None:
        self.approved = True

    @workflow.signal
    def reject(self) -> None:
        self.rejected = True

    @workflow.query
    def get_status(self) -> dict[str, Any]:
        return {
            "approved": self.approved,
            "rejected": self.rejected,
            "pending": not (self.approved or self.rejected),
        }


@workflow.defn
class Parallel:
    @workflow.run
    async def run(self, items: list[str]) -> list[str]:
        return await asyncio.gather(
            *[
                workflow.execute_activity(
                    process_item, item, start_to_close_timeout=timedelta(minutes=1)
                )
                for item in items
            ]
        )
