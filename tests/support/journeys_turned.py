"""A later version of a workflow of :mod:`support.journeys`, which does things in another order."""

from datetime import timedelta
from typing import Any

from support.journeys import flaky, step

from perdure import workflow

_SHORT = timedelta(seconds=30)


@workflow.defn
class Journey:
    """Packs first and books afterwards: a run that has booked cannot go on with it."""

    def __init__(self) -> None:
        self.approvals: list[Any] = []

    @workflow.run
    async def run(self, kind: str) -> list[Any]:
        done: list[Any] = [
            await workflow.execute_activity(flaky, "pack", start_to_close_timeout=_SHORT),
            await workflow.execute_activity(step, "book", start_to_close_timeout=_SHORT),
        ]
        await workflow.wait_condition(lambda: bool(self.approvals))
        return done + self.approvals

    @workflow.signal
    def approve(self, who: Any) -> None:
        self.approvals.append(who)


@workflow.defn
class Later:
    """What the old version has not."""

    @workflow.run
    async def run(self) -> str:
        return "later"
