"""Workflows for the client's scenarios."""

from dataclasses import dataclass
from datetime import timedelta

from perdure import workflow
from perdure.exceptions import ApplicationError


@dataclass
class Order:
    id: str
    lines: list[int]


@workflow.defn
class Shopping:
    """Waits for approvals, then tells what it heard."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.done = False

    @workflow.run
    async def run(self, order: Order, wanted: int = 1) -> list[str]:
        await workflow.wait_condition(lambda: len(self.heard) >= wanted or self.done)
        if self.done:
            raise ApplicationError("sold out", "shelf 7", type="SoldOut", non_retryable=True)
        return [order.id, *self.heard]

    @workflow.signal
    async def approve(self, name: str) -> None:
        self.heard.append(name)

    @workflow.signal(name="sold-out")
    def sold_out(self) -> None:
        self.done = True

    @workflow.query
    def names(self, prefix: str = "") -> list[str]:
        return [name for name in self.heard if name.startswith(prefix)]

    @workflow.query
    def broken(self) -> str:
        raise ValueError("no answer to that")


@workflow.defn(name="sleeper")
class Sleeper:
    @workflow.run
    async def run(self) -> str:
        await workflow.sleep(timedelta(hours=1))
        return "x" * 200_000


@workflow.defn
class Working:
    """Waits for an activity that nobody runs."""

    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity(
            "charge", "o-1", start_to_close_timeout=timedelta(seconds=30)
        )
