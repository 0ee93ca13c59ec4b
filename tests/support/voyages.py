"""A workflow with everything in it that a crash may cut, and the second one that it starts.

The two speak to each other as strangers do: activities use the client and the durable front door,
each under the activity's own idempotency key.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final

from support.journeys import flaky, leave, refused, step
from support.outsiders import publisher

from perdure import activity, workflow
from perdure.client import Client, UnavailableError
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError, ApplicationError

SCOUT: Final = "-scout"
"""What the second workflow's id has behind the first one's."""

_LONG = timedelta(minutes=3)
_STEADY = RetryPolicy(initial_interval=timedelta(seconds=0.7), backoff_coefficient=1.0)


@activity.defn
async def send_out(name: str) -> str:
    """Start the second workflow; the same start again is the same run."""
    leave(name)
    info = activity.info()
    scout = f"{info.workflow_id}{SCOUT}"

    async def start(client: Client) -> str:
        handle = await client.start_workflow(
            "Scout", info.workflow_id, id=scout, request_id=info.idempotency_key
        )
        return handle.id

    return await _surely(start)


@activity.defn
async def report(to: str) -> str:
    """Signal the first workflow by a plain publish, as any program could."""
    leave("report")
    key = activity.info().idempotency_key
    async with publisher(os.environ["NATS_URL"]) as outsider:
        await outsider.publish(
            f"signal.{to}.reported", "land", key=key, headers={"Perdure-Request-Id": key}
        )
    return "reported"


@activity.defn
async def await_return(of: str) -> str:
    """Wait for the second workflow's result."""
    leave("await")
    return await _surely(lambda client: client.get_workflow_handle(of).result())


async def _surely[T](call: Callable[[Client], Awaitable[T]]) -> T:
    """Again until the server is there: that it dies is not the activity's failure."""
    while True:
        try:
            async with await Client.connect(os.environ["NATS_URL"], create=False) as client:
                return await call(client)
        except UnavailableError:
            await asyncio.sleep(0.1)


@workflow.defn
class Voyage:
    """Activities, a retry with backoff, a durable timer, a signal, a second workflow that it hears
    of and waits for, a failure, and what takes back what was done."""

    def __init__(self) -> None:
        self.approvals: list[Any] = []
        self.reports: list[Any] = []

    @workflow.run
    async def run(self) -> list[Any]:
        done: list[Any] = [await _do(step, "book")]
        done.append(await _do(flaky, "pack"))
        await workflow.sleep(timedelta(seconds=1.2))
        await workflow.wait_condition(lambda: bool(self.approvals))
        done += self.approvals
        scout = await _do(send_out, "send")
        await workflow.wait_condition(lambda: bool(self.reports))
        done += self.reports
        done.append(await _do(await_return, scout))
        try:
            await _do(refused, "leave")
        except ActivityError as error:
            assert isinstance(error.cause, ApplicationError)
            done += [error.cause.type, await _do(step, "unpack"), await _do(step, "unbook")]
        return done

    @workflow.signal
    def approve(self, who: Any) -> None:
        self.approvals.append(who)

    @workflow.signal
    def reported(self, what: Any) -> None:
        self.reports.append(what)


@workflow.defn
class Scout:
    """Looks, rests for less than a second, reports."""

    @workflow.run
    async def run(self, to: str) -> str:
        seen = await _do(step, "look")
        await workflow.sleep(timedelta(seconds=0.4))
        await _do(report, to)
        return seen


async def _do(what: Any, argument: str) -> Any:
    return await workflow.execute_activity(
        what, argument, start_to_close_timeout=_LONG, retry_policy=_STEADY
    )
