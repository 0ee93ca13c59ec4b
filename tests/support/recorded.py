"""The workflows behind tests/histories/*.json. Their code stays as it is: those histories are theirs.

A new history is written by ``python -m support.recorded`` in tests/, which never overwrites one.
"""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from support.driver import START, Driver, kinds

from perdure import workflow
from perdure.core import events as ev
from perdure.core.durations import SECOND
from perdure.core.failures import Failure
from perdure.core.records import Record, encode_record, next_trail
from perdure.exceptions import ActivityError, ApplicationError

HISTORIES = Path(__file__).parents[1] / "histories"
MINUTE = timedelta(minutes=1)


@workflow.defn
class Order:
    """Activities with retries, and a compensation."""

    @workflow.run
    async def run(self, order: str) -> str:
        await workflow.execute_activity("reserve", order, start_to_close_timeout=MINUTE)
        try:
            await workflow.execute_activity(
                "charge",
                order,
                start_to_close_timeout=MINUTE,
                schedule_to_close_timeout=10 * MINUTE,
                schedule_to_start_timeout=MINUTE,
            )
        except ActivityError as error:
            await workflow.execute_activity("release", order, start_to_close_timeout=MINUTE)
            raise ApplicationError(f"order {order} failed", type="OrderFailed") from error
        return "never"


@workflow.defn
class Approval:
    """Signals, conditions and a cancellation with cleanup."""

    def __init__(self) -> None:
        self.votes: list[str] = []

    @workflow.signal
    def vote(self, name: str) -> None:
        self.votes.append(name)

    @workflow.signal
    async def ask(self, name: str) -> None:
        await workflow.execute_activity("ask", name, start_to_close_timeout=MINUTE)

    @workflow.run
    async def run(self) -> list[str]:
        try:
            await workflow.wait_condition(lambda: len(self.votes) >= 2, timeout=60 * MINUTE)
            await workflow.wait_condition(lambda: len(self.votes) >= 3)
        finally:
            await workflow.execute_activity("tell", self.votes, start_to_close_timeout=MINUTE)
        return self.votes


@workflow.defn
class Fan:
    """Many things at once, timers that fire early, draws, and an end with things still open."""

    @workflow.run
    async def run(self, width: int) -> Any:
        drawn = workflow.random().randint(1, 100), str(workflow.uuid4())
        tasks = [asyncio.create_task(self.branch(number)) for number in range(width)]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        left = asyncio.create_task(asyncio.sleep(3600))
        await asyncio.gather(*pending, return_exceptions=True)
        await workflow.sleep(5)
        del left
        return [*drawn, len(done), workflow.now().isoformat()]

    async def branch(self, number: int) -> None:
        async with asyncio.timeout(30 + number):
            await workflow.execute_activity(f"part{number}", start_to_close_timeout=MINUTE)


def order() -> Driver:
    d = Driver(Order, "o-1", run_timeout=9000 * SECOND)
    d.start()
    d.done(2, "reserved")
    d.feed(ev.ActivityStarted(run=d.started.run, n=3, attempt=1))
    d.backoff(3, attempt=1, delay=40)
    d.fire(6)
    cause = Failure(message="card", type="CardError", cause=Failure(message="bank", type="Bank"))
    d.failed(3, cause, attempt=2, retry_state=2)
    d.done(7)
    return d


def approval() -> Driver:
    d = Driver(Approval)
    d.start()
    d.signal("vote", "ada")
    d.signal("vote", 5)
    d.signal("unknown", {"a": 1})
    d.signal("ask", "bob")
    d.signal("vote", "eve")
    d.done(2)
    d.cancel("too late")
    d.done(3)
    return d


def fan() -> Driver:
    d = Driver(Fan, 9)
    d.start()
    d.feed(ev.TimerFired(run=d.started.run, n=1, due=d.due(1)), at=2)
    d.done(10)
    d.fire(20)
    return d


RECORDED = {"order-1": order, "approval-1": approval, "fan-1": fan}


def history(driver: Driver) -> dict[str, Any]:
    """The log as records of one and two events by turns."""
    turns: list[Any] = []
    steps, k, trail, seq = list(driver.log), 0, list[int](), 1000
    while steps:
        size = 1 + k % 2
        turn, steps = steps[:size], steps[size:]
        record = Record(
            run=driver.started.run,
            k=k,
            applied=[step.seq for step in turn],
            commands=[command for step in turn for command in step.commands],
            trail=trail,
            build="recorded",
        )
        turns.append(
            {
                "events": [
                    [step.seq, step.timestamp, ev.encode_event(step.event).decode()]
                    for step in turn
                ],
                "record": encode_record(record).decode(),
            }
        )
        trail, k, seq = next_trail(trail, k, seq), k + 1, seq + 1
    return {"workflow": driver.definition.name, "started_at": START, "turns": turns}


def main() -> None:
    for name, live in RECORDED.items():
        path = HISTORIES / f"{name}.json"
        if not path.exists():
            driver = live()
            path.write_text(json.dumps(history(driver), indent=1) + "\n", encoding="utf-8")
            print(path.name, *kinds(driver.commands), sep="\n  ")
            driver.instance.dispose()


if __name__ == "__main__":
    main()
