"""The deterministic event loop on its own."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from support.driver import Driver, flow

from perdure.core.errors import ReadOnlyContextError
from perdure.core.loop import WorkflowLoop


@pytest.fixture
def driver() -> Driver:
    async def run(self: Any) -> None:
        await asyncio.Event().wait()

    driver = Driver(flow(run))
    driver.start()
    return driver


@pytest.fixture
def loop(driver: Driver) -> WorkflowLoop:
    return driver.instance.host.loop


FORBIDDEN: list[tuple[str, Callable[[WorkflowLoop], Any]]] = [
    ("threads and executors", lambda loop: loop.run_in_executor(None, print)),
    ("other threads", lambda loop: loop.call_soon_threadsafe(print)),
    ("running an event loop", lambda loop: loop.run_until_complete(None)),
    ("running an event loop", lambda loop: loop.run_forever()),
    ("the network", lambda loop: loop.getaddrinfo("here", 80).send(None)),
    ("the network", lambda loop: loop.create_connection(None).send(None)),
    ("the network", lambda loop: loop.create_server(None).send(None)),
    ("subprocesses", lambda loop: loop.subprocess_exec(None, "ls").send(None)),
    ("subprocesses", lambda loop: loop.subprocess_shell(None, "ls").send(None)),
    ("signal handlers", lambda loop: loop.add_signal_handler(2, print)),
]


@pytest.mark.parametrize(("what", "attempt"), FORBIDDEN)
def test_what_would_leave_the_workflow_says_what_to_use(
    loop: WorkflowLoop, what: str, attempt: Callable[[WorkflowLoop], Any]
) -> None:
    with pytest.raises(NotImplementedError) as error:
        attempt(loop)
    assert str(error.value) == (
        f"{what} cannot be used in workflow code: it would differ on replay. "
        "Do it in an activity and await workflow.execute_activity(...)."
    )


def test_to_thread_is_refused_in_a_workflow() -> None:
    async def run(self: Any) -> None:
        await asyncio.to_thread(print)

    driver = Driver(flow(run))
    driver.start()
    with pytest.raises(Exception, match="threads and executors cannot be used in workflow code"):
        driver.result()


def test_what_asyncio_asks_of_a_loop(loop: WorkflowLoop) -> None:
    assert loop.is_running() and not loop.is_closed() and not loop.get_debug()
    assert loop.get_task_factory() is None and loop.get_exception_handler() is None
    assert not loop.is_read_only and not loop.is_gone


def test_what_goes_wrong_in_a_callback_is_reported(driver: Driver, loop: WorkflowLoop) -> None:
    loop.default_exception_handler({"message": "from asyncio"})
    loop.call_soon(lambda: 1 / 0)
    loop.run_ready()
    messages = [context["message"] for context in driver.instance.host.unhandled]
    assert messages[0] == "from asyncio"
    assert "Exception in callback" in messages[1]
    for number in range(20):
        loop.call_exception_handler({"message": f"{number}"})
    kept = [context["message"] for context in driver.instance.host.unhandled]
    assert kept == [f"{number}" for number in range(4, 20)]
    driver.instance.dispose()
    loop.call_exception_handler({"message": "nobody hears"})
    assert len(driver.instance.host.unhandled) == 16


def test_a_cancelled_callback_is_skipped(loop: WorkflowLoop) -> None:
    called: list[int] = []
    loop.call_soon(called.append, 1).cancel()
    loop.call_soon(called.append, 2)
    loop.run_ready()
    assert called == [2]


def test_it_runs_inside_another_loops_task(loop: WorkflowLoop) -> None:
    seen: list[Any] = []

    async def inner() -> None:
        task = asyncio.current_task()
        seen.append(task and task.get_name())

    async def outer() -> None:
        me = asyncio.current_task()
        loop.create_task(inner(), name="inner")
        loop.run_ready()
        seen.append(loop.call(asyncio.current_task))
        assert asyncio.current_task() is me
        assert asyncio.get_running_loop() is not loop

    asyncio.run(outer())
    assert seen == ["inner", None]


def test_a_task_that_ends_in_its_first_step_is_not_kept(loop: WorkflowLoop) -> None:
    async def quick() -> int:
        return hash(asyncio.current_task())

    task = loop.call(lambda: loop.create_task(quick(), eager_start=True))
    assert task.done() and task.result() == hash(task) == loop._numbers


def test_looking_changes_nothing(loop: WorkflowLoop) -> None:
    before = loop._numbers
    assert loop.look(lambda: loop.is_read_only)
    with pytest.raises(ReadOnlyContextError, match="action attempted: make a future"):
        loop.look(loop.create_future)
    assert not loop.is_read_only and loop._numbers == before


def test_a_dropped_loop_takes_nothing(driver: Driver, loop: WorkflowLoop) -> None:
    timer = loop.call_later(5, print)
    driver.instance.dispose()
    assert loop.is_gone
    called: list[int] = []
    loop.call_soon(called.append, 1)
    loop.run_ready()
    timer.cancel()
    assert called == []
    with pytest.raises(RuntimeError, match="cannot start a timer: this workflow run is being drop"):
        loop.call_later(1, print)


def test_a_plain_timer_handle_is_none_of_its_business(loop: WorkflowLoop) -> None:
    asyncio.TimerHandle(5.0, print, (), loop).cancel()


def test_futures_made_by_the_loop_hash_by_number(loop: WorkflowLoop) -> None:
    one, other = loop.create_future(), loop.create_future()
    assert hash(other) == hash(one) + 1


def test_tasks_of_many_runs_do_not_collide_in_asyncios_set_of_all_tasks() -> None:
    async def run(self: Any) -> None:
        await asyncio.Event().wait()

    drivers = [Driver(flow(run)) for _ in range(50)]
    for driver in drivers:
        driver.start()
    loops = {id(driver.instance.host.loop) for driver in drivers}
    # Python 3.14 keeps tasks elsewhere, and has none here.
    filed = [
        reference
        for reference in list(vars(asyncio.tasks)["_scheduled_tasks"].data)
        if (task := reference()) is not None and id(task.get_loop()) in loops
    ]
    assert len({hash(reference) for reference in filed}) == len(filed)
    numbers = {
        hash(task) for driver in drivers for task in driver.instance.host.loop._tasks.values()
    }
    assert numbers == {1}


def test_disposing_leaves_tasks_that_ended_in_this_step_alone(
    driver: Driver, loop: WorkflowLoop
) -> None:
    async def quick() -> int:
        return 5

    task = loop.create_task(quick())
    handle = loop._ready.pop(0)
    loop.call(handle._run)
    assert task.done()
    driver.instance.dispose()
    assert task.result() == 5
