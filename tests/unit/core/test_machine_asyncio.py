"""asyncio's own tools on the run's loop."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from support.driver import Driver, flow, kinds

from perdure import workflow
from perdure.core.errors import ActivityError, ApplicationError

type Drive = Callable[..., Driver]
S5 = timedelta(seconds=5)


def call(name: str = "work", *args: Any) -> Any:
    return workflow.execute_activity(name, args=args, start_to_close_timeout=S5)


def test_gather_keeps_the_order_of_its_arguments(drive: Drive) -> None:
    async def run(self: Any) -> Any:
        return await asyncio.gather(*(call("w", i) for i in range(4)))

    d = drive(flow(run))
    for n in (3, 1, 4, 2):
        d.done(n, f"r{n}")
    assert d.result() == ["r1", "r2", "r3", "r4"]


@pytest.mark.parametrize("return_exceptions", [True, False])
def test_gather_with_a_failure(drive: Drive, return_exceptions: bool) -> None:
    async def run(self: Any) -> Any:
        both = await asyncio.gather(call(), call(), return_exceptions=return_exceptions)
        return [type(one).__name__ for one in both]

    d = drive(flow(run))
    d.failed(2, "no")
    if return_exceptions:
        d.done(1, 5)
        assert d.result() == ["int", "ActivityError"]
    else:
        assert kinds(d.commands)[-2:] == ["cancel_activity 1", "fail_workflow: activity"]


def test_a_task_group_aborts_in_the_order_of_its_tasks(drive: Drive) -> None:
    async def run(self: Any) -> Any:
        async with asyncio.TaskGroup() as group:
            for _ in range(12):
                group.create_task(call())

    d = drive(flow(run))
    commands = kinds(d.failed(6, "no"))
    assert commands[:-1] == [f"cancel_activity {n}" for n in range(1, 13) if n != 6]
    with pytest.raises(ApplicationError, match="ExceptionGroup") as error:
        d.result()
    assert isinstance(error.value.cause, ActivityError)


def test_wait_gives_sets_that_iterate_alike(drive: Drive) -> None:
    async def run(self: Any) -> Any:
        tasks = [asyncio.create_task(call("w", i), name=f"t{i}") for i in range(9)]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return [t.get_name() for t in done], [t.get_name() for t in pending]

    d = drive(flow(run))
    d.done(5)
    done, pending = d.result()
    assert (done, sorted(pending)) == (["t4"], [f"t{i}" for i in range(9) if i != 4])


def test_queues_locks_and_semaphores(drive: Drive) -> None:
    async def worker(name: str, jobs: Any, lock: Any, gate: Any, log: list[str]) -> None:
        while True:
            job = await jobs.get()
            async with gate, lock:
                log.append(f"{name}{job}")
                await asyncio.sleep(0)
            jobs.task_done()

    async def run(self: Any) -> Any:
        jobs: asyncio.Queue[int] = asyncio.Queue(2)
        lock, gate, log = asyncio.Lock(), asyncio.Semaphore(2), list[str]()
        crew = [asyncio.create_task(worker(n, jobs, lock, gate, log)) for n in "ab"]
        for job in range(5):
            await jobs.put(job)
        await jobs.join()
        for one in crew:
            one.cancel()
        return log

    d = drive(flow(run))
    assert [entry[1] for entry in d.result()] == list("01234")


def test_as_completed_over_tasks(drive: Drive) -> None:
    async def run(self: Any) -> Any:
        tasks = [asyncio.create_task(call(name)) for name in "abcdefghij"]
        return [await one for one in asyncio.as_completed(tasks)]

    d = drive(flow(run))
    for n in (4, 2, 9, 1, 3, 10, 5, 8, 6, 7):
        d.done(n, n)
    assert d.result() == [4, 2, 9, 1, 3, 10, 5, 8, 6, 7]
