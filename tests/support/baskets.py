"""A workflow that is sent heavy things."""

from datetime import timedelta
from typing import Any

from support.journeys import leave

from perdure import activity, workflow


@activity.defn
async def weigh(things: list[str]) -> str:
    leave(f"weighs-{len(things)}")
    return "weighed"


@workflow.defn
class Basket:
    """Returns the numbers of the things that it was sent, and that they were weighed."""

    def __init__(self) -> None:
        self.numbers: list[Any] = []
        self.things: list[str] = []

    @workflow.run
    async def run(self, count: int) -> list[Any]:
        await workflow.wait_condition(lambda: len(self.numbers) >= count)
        said = await workflow.execute_activity(
            weigh, self.things[:2], start_to_close_timeout=timedelta(seconds=30)
        )
        return [*self.numbers, said]

    @workflow.signal
    def put(self, number: int, thing: str) -> None:
        self.numbers.append(number)
        self.things.append(thing)
