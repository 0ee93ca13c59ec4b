"""Random workflow programs, and random lives for them.

A program is a tree of lists; :class:`Interpreter` is the workflow that runs it. A life is a list of
numbers, each of which chooses what happens next to a run. Both are plain JSON, so that another
process can live the same life and compare.

Run as a script: reads ``[[program, life], …]`` from standard input and prints, for each, what the
run decided.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from support.driver import RUN, START, Driver, encoded

from perdure import workflow
from perdure.core import events as ev
from perdure.core.durations import MILLISECOND, SECOND
from perdure.core.failures import Failure
from perdure.exceptions import ApplicationError, FailureError
from perdure.workflow import ActivityCancellationType

type Program = list[Any]
LIMIT = timedelta(seconds=30)
KINDS = list(ActivityCancellationType)


@workflow.defn
class Interpreter:
    """Runs a program. Every activity has a name of its own, by the order in which they are made;
    ``mutation`` changes the code at one of them."""

    mutation: tuple[int, str] = (0, "")

    def __init__(self) -> None:
        self.count = 0
        self.mail: list[int] = []

    @workflow.signal
    def post(self, number: int) -> None:
        self.mail.append(number)

    @workflow.signal
    async def work(self, number: int) -> None:
        await self.activity(number)

    @workflow.query
    def letters(self) -> int:
        return len(self.mail)

    @workflow.run
    async def run(self, program: list[Any]) -> Any:
        return await self.do(program)

    async def do(self, program: Program) -> Any:
        kind, *parts = program
        return await getattr(self, f"do_{kind}")(*parts)

    async def activity(self, kind: int) -> Any:
        self.count += 1
        at, mutation = self.mutation
        name, here = f"a{self.count}", self.count == at
        if mutation == "swap" and self.count in (at, at + 1):
            name = f"a{2 * at + 1 - self.count}"
        if here and mutation == "drop":
            return None
        if here and mutation == "insert":
            workflow.start_activity("inserted", start_to_close_timeout=LIMIT)
        if here and mutation == "timer":
            return await workflow.sleep(5)
        options: dict[str, Any] = {}
        if kind % 4 == 3:
            options = {"schedule_to_close_timeout": LIMIT, "schedule_to_start_timeout": LIMIT}
        return await workflow.execute_activity(
            f"{name}x" if here and mutation == "change" else name,
            kind,
            start_to_close_timeout=LIMIT,
            cancellation_type=KINDS[kind % 3],
            **options,
        )

    async def do_act(self, kind: int) -> Any:
        return await self.activity(kind)

    async def do_timer(self, seconds: int) -> None:
        await (workflow.sleep(seconds) if seconds % 2 else asyncio.sleep(seconds))

    async def do_wait(self, letters: int, timeout: int | None) -> bool:
        return await workflow.wait_condition(lambda: len(self.mail) >= letters, timeout=timeout)

    async def do_draw(self) -> Any:
        drawn = f"{workflow.random().random()} {workflow.uuid4()} {workflow.now()}"
        return await workflow.execute_activity(
            "draw", drawn, schedule_to_close_timeout=timedelta(seconds=9)
        )

    async def do_fail(self) -> None:
        raise ApplicationError("as written", type="Written")

    async def do_seq(self, *parts: Program) -> list[Any]:
        return [await self.do(part) for part in parts]

    async def do_loop(self, times: int, part: Program) -> None:
        for _ in range(times):
            await self.do(part)

    async def do_gather(self, alike: bool, *parts: Program) -> int:
        return len(await asyncio.gather(*map(self.do, parts), return_exceptions=alike))

    async def do_group(self, *parts: Program) -> None:
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(self.do(part))

    async def do_race(self, *parts: Program) -> str:
        tasks = [asyncio.create_task(self.do(part), name=f"t{i}") for i, part in enumerate(parts)]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return " ".join(task.get_name() for task in (*done, *pending))

    async def do_try(self, body: Program, handler: Program, final: Program) -> Any:
        try:
            return await self.do(body)
        except (FailureError, ExceptionGroup):
            return await self.do(handler)
        finally:
            await self.do(final)

    async def do_within(self, seconds: int, body: Program) -> Any:
        try:
            async with asyncio.timeout(seconds):
                return await self.do(body)
        except TimeoutError:
            return "late"

    async def do_scope(self, body: Program, meanwhile: Program) -> None:
        task = asyncio.create_task(self.do(body))
        try:
            await self.do(meanwhile)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def do_shield(self, body: Program) -> Any:
        task = asyncio.create_task(self.do(body))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await task
            raise


class Life:
    """What happens to one run, one number at a time."""

    def __init__(self, program: Program) -> None:
        self.driver = Driver(Interpreter, program)
        self.driver.start()
        self._external = 0

    def live(self, numbers: list[int]) -> Driver:
        """All of ``numbers``, then whatever is open ends, until the run closes."""
        for number in numbers:
            self._one(number)
        for _ in range(300):
            if self.driver.instance.close is not None:
                break
            self._progress(1)
        return self.driver

    def _one(self, number: int) -> None:
        action, pick = number % 24, number // 24
        if action < 10:
            self._progress(pick)
        elif action < 21:
            rare: list[Callable[[int], None]] = [
                self._fail,
                self._post,
                self._again,
                self._early,
                self._attempt_failed,
                self._canceled,
                self._strange,
                self._begin,
                self._work,
                self._fail,
                self._post,
            ]
            rare[action - 10](pick)
        elif action == 21 and pick % 4 == 0:
            self._external += 1
            self._feed(ev.WorkflowCancelRequested(eid=f"x{self._external}", reason="life"))
        else:
            self._post(pick)

    def _feed(self, event: ev.Event, *, due: int = 0, late: int = 0) -> None:
        now = max(self.driver.now + MILLISECOND, due) + late
        self.driver.feed(event, at=(now - START) / SECOND)
        assert self.driver.now >= due

    def _progress(self, pick: int) -> None:
        """One of the activities completes or one of the timers fires."""
        activities = [a for a in self.driver.instance.pending_activities() if not a.retry_timer]
        timers = self.driver.instance.pending_timers()
        if not activities and not timers:
            self._post(pick)
            return
        index = pick % (len(activities) + len(timers))
        if index < len(activities):
            command = activities[index].command
            self._feed(
                ev.ActivityCompleted(
                    run=RUN, n=command.n, attempt=1, activity_type=command.activity_type
                )
            )
        else:
            timer = timers[index - len(activities)]
            late = (pick % 3) * SECOND
            self._feed(ev.TimerFired(run=RUN, n=timer.n, due=timer.due), due=timer.due, late=late)

    def _some(self, pick: int) -> Any:
        activities = self.driver.instance.pending_activities()
        return activities[pick % len(activities)] if activities else None

    def _fail(self, pick: int) -> None:
        if some := self._some(pick):
            failure = Failure(message="no", type="No")
            event = ev.ActivityFailed(
                run=RUN,
                n=some.command.n,
                attempt=some.attempt,
                activity_type=some.command.activity_type,
                failure=failure,
                retry_state=2,
            )
            self._feed(event)

    def _attempt_failed(self, pick: int) -> None:
        if some := self._some(pick):
            event = ev.ActivityAttemptFailed(
                run=RUN,
                n=some.command.n,
                attempt=some.attempt,
                failure=Failure(message="not yet"),
                delay=40 * SECOND,
            )
            self._feed(event)

    def _canceled(self, pick: int) -> None:
        if some := self._some(pick):
            self._feed(ev.ActivityCanceled(run=RUN, n=some.command.n, attempt=1))

    def _begin(self, pick: int) -> None:
        if some := self._some(pick):
            self._feed(ev.ActivityStarted(run=RUN, n=some.command.n, attempt=1))

    def _early(self, pick: int) -> None:
        timers = self.driver.instance.pending_timers()
        if timers:
            timer = timers[pick % len(timers)]
            self._feed(ev.TimerFired(run=RUN, n=timer.n, due=timer.due))

    def _post(self, pick: int) -> None:
        self._signal("post", pick)

    def _work(self, pick: int) -> None:
        self._signal("work", pick % 12)

    def _signal(self, name: str, number: int) -> None:
        self._external += 1
        args = [self.driver.instance.host.converter.to_payload(number)]
        self._feed(ev.WorkflowSignaled(eid=f"x{self._external}", name=name, args=args))

    def _again(self, pick: int) -> None:
        """Any event of the past, once more: late or double."""
        self._feed(self.driver.log[pick % len(self.driver.log)].event)

    def _strange(self, pick: int) -> None:
        n = pick % 7
        strange: list[ev.Event] = [
            ev.ActivityCompleted(run="another", n=n, attempt=1, activity_type="a1"),
            ev.ActivityCompleted(run=RUN, n=n, attempt=1, activity_type="nothing"),
            ev.WorkflowSignaled(eid=f"s{pick}", name="unknown"),
            ev.WorkflowSignaled(eid=f"u{pick}", name="post"),
            ev.TimerFired(run=RUN, n=n + 900, due=START),
        ]
        self._feed(strange[pick % len(strange)])


def decisions(driver: Driver) -> str:
    return "\n".join(encoded(step.commands).decode() for step in driver.log)


def main() -> None:
    answers: list[str] = []
    for program, numbers in json.load(sys.stdin):
        driver = Life(program).live(numbers)
        answers.append(decisions(driver))
        driver.instance.dispose()
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
